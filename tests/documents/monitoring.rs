//! The alert rules and the dashboard use metrics that the program writes. The rules pass their own tests, if promtool is
//! installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{find_program, not_tried};

const PREFIX: &str = "aegis_kills_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

/// The metrics that a text names, without labels.
fn metrics(text: &str) -> BTreeSet<&str> {
    let of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let names = text.match_indices(PREFIX).map(|(at, _)| {
        let end = text[at..].find(|letter: char| !of_name(letter)).map_or(text.len(), |length| at + length);
        &text[at..end]
    });
    names.filter(|name| *name != PREFIX).collect()
}

#[test]
fn the_alert_rules_and_the_dashboard_use_existing_metrics() {
    let database = Cluster::shared().database("monitoring");
    let work = Workplace::new();
    work.load(&database, &["--metrics-file", "kills.prom"]).stdin(generated(20, 7, 0.0)).expect(0);
    let file = fs::read_to_string(work.path().join("kills.prom")).expect("the metrics");
    let written = metrics(&file);
    assert!(written.len() > 20, "{written:?}");
    for (path, least) in
        [("deploy/alerts.yaml", 6), ("deploy/alerts_test.yaml", 6), ("deploy/grafana-dashboard.json", 15)]
    {
        let text = read(path);
        let used = metrics(&text);
        assert!(used.len() >= least, "{path}: {used:?}");
        let unknown: Vec<_> = used.difference(&written).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
    // The descriptions of the alerts name both.
    for line in read("deploy/alerts_test.yaml").lines().filter(|line| line.contains(" series:")) {
        assert!(line.contains("instance=") && line.contains("server="), "{line}");
    }
}

#[test]
fn each_panel_of_the_dashboard_has_its_own_place_and_a_query() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut places = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        assert!(places.insert((place["x"].as_u64(), place["y"].as_u64())), "{panel}");
        assert!(panel["title"].is_string() && panel["description"].is_string(), "{panel}");
        for target in panel["targets"].as_array().expect("targets") {
            assert!(target["expr"].as_str().is_some_and(|query| query.contains(PREFIX)), "{target}");
        }
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn the_alert_rules_pass_their_tests() {
    let Some(promtool) = find_program(&["promtool"], &[]) else {
        return not_tried("the tests of deploy/alerts.yaml", "promtool is missing");
    };
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for args in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let output = Command::new(&promtool).args(args).current_dir(&deploy).output_in_time();
        let output = output.expect("promtool");
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&text));
    }
}
