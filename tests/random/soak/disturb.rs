//! The faults of the server.

use std::sync::atomic::Ordering;
use std::thread;

use fastrand::Rng;

use super::{EndOnPanic, LOADERS, Soak, milliseconds};
use crate::faults::disk::fill;
use crate::support::backends::terminate;

#[derive(Clone, Copy, Debug)]
enum ServerFault {
    Lock(&'static str),
    Terminate,
    Restart,
    Crash,
    Kill,
    FullDisk,
}

const SERVER_FAULTS: [ServerFault; 10] = [
    ServerFault::Lock("kill_event"),
    ServerFault::Lock("kill_load_run"),
    ServerFault::Lock("kill_load_segment"),
    ServerFault::Terminate,
    ServerFault::Terminate,
    ServerFault::Terminate,
    ServerFault::Restart,
    ServerFault::Crash,
    ServerFault::Kill,
    ServerFault::FullDisk,
];

impl Soak<'_> {
    /// Disturbs the server with each kind of fault in random order, again and again.
    pub(super) fn disturb(&self) {
        let _end = EndOnPanic(&self.has_failed);
        let random = &mut Rng::with_seed(self.seed.wrapping_mul(100).wrapping_add(LOADERS as u64));
        loop {
            let mut faults = SERVER_FAULTS;
            random.shuffle(&mut faults);
            for fault in faults {
                // The pace of the faults, not a wait for a condition.
                thread::sleep(milliseconds(random, 2500));
                if self.is_over() {
                    return;
                }
                self.disturb_by(fault, random);
                self.server_faults.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn disturb_by(&self, fault: ServerFault, random: &mut Rng) {
        let time = milliseconds(random, 1500);
        match fault {
            ServerFault::Lock(table) => {
                let mut client = self.database.client();
                // Fails if a frozen load holds the table for longer, or in a deadlock.
                let _ = client.batch_execute(&format!(
                    "set lock_timeout = '5s'; begin; lock table {table} in access exclusive mode"
                ));
                thread::sleep(time);
            }
            ServerFault::Terminate => {
                terminate(&mut self.database.client(), 3, random);
            }
            ServerFault::Restart | ServerFault::Crash | ServerFault::Kill => {
                match fault {
                    ServerFault::Restart => self.cluster.stop(),
                    ServerFault::Crash => self.cluster.stop_immediate(),
                    _ => self.cluster.kill9(),
                }
                thread::sleep(time);
                self.cluster.start();
            }
            ServerFault::FullDisk if self.has_disk => {
                fill(&self.database);
                thread::sleep(time);
                self.database.client().batch_execute("drop table filler").expect("room");
            }
            ServerFault::FullDisk => {}
        }
    }
}
