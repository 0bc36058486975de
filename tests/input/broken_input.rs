//! `load` of inputs that break: the events before the break are loaded, the error names the place, and the next input is
//! loaded.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, gzip, join, lines, zstd_frames};
use crate::support::oracle::{Expected, Nul, expect, merge};
use crate::support::program::{Workplace, assert_tables};
use crate::support::{log_case, samples};

/// Loads a broken input, which holds `text` up to its break, and then an intact one. A line that is cut off is not read.
#[track_caller]
fn check_broken(broken: &[u8], text: &[u8], texts: &[&str]) {
    let database = Cluster::shared().database("broken");
    let work = Workplace::new();
    let sound = samples::sample_events();
    work.write("broken dump", broken);
    work.write("sound", &sound);
    let run = work.load(&database, &["broken dump", "sound"]).segment_bytes(64 << 10).expect(1);
    let whole_lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |feed| feed + 1);
    let expected: Expected =
        merge(vec![expect(&text[..whole_lines], Nul::Reject), expect(&sound, Nul::Reject)]);
    assert_tables(&database, "americas", &expected.tables);
    let summary = run.summary();
    assert_eq!(summary.status(), "failed");
    let rejected = expected.rejected.len() as u64;
    summary.check(&[("inserted", expected.loaded()), ("rejected", rejected), ("unfinished", 0)]);
    let place = format!("at byte {} of the uncompressed text", text.len());
    for part in texts.iter().chain(&["broken dump", &place]) {
        assert!(summary.error().contains(part), "{part:?} is missing in: {}", summary.error());
        assert!(run.stderr.contains(part), "{part:?} is missing in: {}", run.stderr);
    }
    // The same in another order and from a pipe.
    let run = work.load(&database, &["sound", "-"]).stdin(broken).segment_bytes(64 << 10).expect(1);
    assert!(run.summary().error().contains("<stdin>"), "{}", run.summary().error());
    run.summary().check(&[("inserted", 0), ("rejected", rejected), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expected.tables);
}

#[test]
fn cut_gzip_loads_up_to_the_cut() {
    let text = generated(60, 21, 0.0);
    let whole = gzip(&text);
    for part in [2, 3] {
        let cut = &whole[..whole.len() * (part - 1) / part];
        // Everything that can be decoded, byte by byte, with another decoder.
        let mut before = Vec::new();
        let (mut decoder, mut byte) = (GzDecoder::new(cut), [0]);
        while let Ok(1) = decoder.read(&mut byte) {
            before.extend(byte);
        }
        assert!(before.len() > 100_000 && text.starts_with(&before));
        check_broken(cut, &before, &["gzip", "cut short"]);
    }
    // The whole text is there, but not its checksum.
    check_broken(&whole[..whole.len() - 5], &text, &["gzip", "cut short"]);
}

/// In each layout the whole events before the cut are stored, and nothing is rejected. The intact copy has the others.
#[test]
fn an_event_that_is_cut_off_is_not_rejected() {
    let dump = generated(60, 25, 0.0);
    let events = lines(&dump);
    let forms = [
        ("lines", dump.clone()),
        ("an array on one line", [&b"["[..], &events.join(&b','), b"]"].concat()),
        ("an array over lines", [&b"[\n"[..], &events.join(&b",\n"[..]), b"\n]\n"].concat()),
        ("concatenated", events.concat()),
    ];
    let expected = expect(&dump, Nul::Reject);
    for (form, text) in forms {
        log_case(form);
        for whole in [gzip(&text), zstd_frames(&text, 50_000)] {
            let (work, database) = (Workplace::new(), Cluster::shared().database("cut"));
            work.write("dump", &whole[..whole.len() * 2 / 3]);
            let ended = work.load(&database, &["dump"]).segment_bytes(64 << 10).expect(1);
            let summary = ended.summary();
            assert!(summary.error().contains("cut short"), "{}", ended.stdout);
            summary.check(&[("rejected", 0), ("unfinished", 0), ("inserted", summary.count("events"))]);
            assert!(summary.count("inserted") > 20, "{}", ended.stdout);
            assert!(ended.rejects().is_empty());
            work.write("dump", &text);
            work.load(&database, &["dump"]).segment_bytes(64 << 10).expect(0);
            assert_tables(&database, "americas", &expected.tables);
        }
    }
}

#[test]
fn damaged_gzip_loads_up_to_the_damage() {
    let text = generated(60, 22, 0.0);
    let events = lines(&text);
    let parts: Vec<Vec<u8>> = events.chunks(20).map(join).collect();
    let mut second = gzip(&parts[1]);
    // An invalid type of the first block, after a header of 10 bytes.
    second[10] |= 0b110;
    let damaged = [gzip(&parts[0]), second, gzip(&parts[2])].concat();
    check_broken(&damaged, &parts[0], &["gzip", "damaged", "delete --server americas"]);

    let mut checksum = gzip(&parts[1]);
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    let damaged = [gzip(&parts[0]), checksum, gzip(&parts[2])].concat();
    check_broken(&damaged, &parts[..2].concat(), &["gzip", "damaged", "delete --server americas"]);

    let trailing = [gzip(&parts[0]), b"and then some".to_vec()].concat();
    check_broken(&trailing, &parts[0], &["gzip", "followed by something else", "head -c"]);
}

#[test]
fn cut_or_damaged_zstd_loads_up_to_the_break() {
    let text = generated(60, 23, 0.0);
    let events = lines(&text);
    let parts: Vec<Vec<u8>> = events.chunks(20).map(join).collect();
    let frames: Vec<Vec<u8>> = parts.iter().map(|part| zstd_frames(part, usize::MAX)).collect();
    let cut = [&frames[0][..], &frames[1][..3]].concat();
    check_broken(&cut, &parts[0], &["zstd", "cut short"]);
    let mut header = frames[1].clone();
    // The reserved bit of the frame header descriptor.
    header[4] |= 0b1000;
    let damaged = [&frames[0][..], &header, &frames[2]].concat();
    check_broken(&damaged, &parts[0], &["zstd", "damaged", "delete --server americas"]);
}

/// The text in one stored member with a wrong checksum.
fn gzip_with_a_wrong_checksum(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(text).expect("memory");
    let mut bytes = encoder.finish().expect("memory");
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    bytes
}

/// The same for zstd, in raw blocks.
fn zstd_with_a_wrong_checksum(text: &[u8]) -> Vec<u8> {
    // The magic number; a checksum follows; a window of 1 MiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x50];
    let mut blocks = text.chunks(100_000).peekable();
    while let Some(block) = blocks.next() {
        let header = u32::from(blocks.peek().is_none()) | u32::try_from(block.len()).expect("small") << 3;
        bytes.extend(&header.to_le_bytes()[..3]);
        bytes.extend(block);
    }
    bytes.extend(b"sum?");
    bytes
}

/// A flipped bit in a number leaves valid JSON, so only the checksum at the end shows it. If the number is an event's id, the
/// wrong event is an extra row.
#[test]
fn the_suggested_commands_correct_everything_before_a_wrong_checksum() {
    let sound = generated(40, 24, 0.0);
    let text = String::from_utf8(sound.clone()).expect("UTF-8");
    let values = text.replace("\"TotalVictimKillFame\":", "\"TotalVictimKillFame\":1");
    let ids = text.replacen("\"EventId\":1", "\"EventId\":9", 3);
    let expected = expect(&sound, Nul::Reject);
    for wrong in [&values, &ids] {
        assert_ne!(wrong, &text);
        let wrong = wrong.as_bytes();
        for damaged in [gzip_with_a_wrong_checksum(wrong), zstd_with_a_wrong_checksum(wrong)] {
            let (work, database) = (Workplace::new(), Cluster::shared().database("checksum"));
            let url = database.tcp_url();
            work.write("dump", &damaged);
            let options = ["--database-url", &url, "--server", "americas"];
            let shown = work.program(&["load"]).args(&options).arg("dump").segment_bytes(64 << 10).expect(1);
            let commands = ["delete", "load"].map(|command| format!("{command} {}", options.join(" ")));
            for command in commands.iter().map(|command| format!(" {command} dump\n")) {
                assert!(shown.stdout.contains(&command), "{command:?} is missing in: {}", shown.stdout);
            }
            let (_, logged) = shown.stderr.split_once(" with: ").expect("a command");
            assert!(logged.contains(" delete --database-url ") && !logged.contains('…'), "{}", shown.stderr);
            assert!(logged.contains(" --server americas dump\n"), "{}", shown.stderr);
            let deleted = work.program(&["delete"]).args(&options).arg("dump").expect(1);
            assert!(deleted.stdout.contains("are deleted; get an intact copy"), "{}", deleted.stdout);
            assert!(!deleted.stdout.contains("To resume"), "nothing is left to delete: {}", deleted.stdout);
            work.write("dump", &sound);
            work.program(&["load"]).args(&options).arg("dump").segment_bytes(64 << 10).expect(0);
            assert_tables(&database, "americas", &expected.tables);
            // No command stores the wrong text over the right one.
            work.write("dump", &damaged);
            let shown = work.program(&["verify"]).args(&options).arg("dump").expect(1).stdout;
            assert!(shown.starts_with("Failed: ") && shown.contains("\ndump:1  event "), "{shown}");
            assert!(!shown.contains("--on-conflict") && !shown.contains("--force"), "{shown}");
        }
    }
}
