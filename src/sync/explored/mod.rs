//! Explores the order of threads: runs a test again and again, each time with another order.
//!
//! All threads of a run are coroutines of one thread. They switch only before an operation on a lock, an atomic or a
//! channel, and shuttle chooses the next. Its state and that of this module are therefore never accessed at once.
//!
//! Invariant: time is virtual. It advances when no thread can run, and at a few random moments, as if threads were slow. A
//! deadlock is detected at once, and a run that only waits for time-outs is stopped after [`clock::TIME_MAX`].

pub(crate) mod channel;
pub(crate) mod clock;
pub(crate) mod locks;
pub(crate) mod pool;
pub(crate) mod thread;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The number of schedules per test if `SCHEDULES` is not set.
const SCHEDULES_DEFAULT: usize = 2000;

/// The priority changes per schedule of the scheduler that rarely changes threads.
const PRIORITY_CHANGES: usize = 3;

/// JSON and formatting need more than shuttle's default of 60 KiB.
const STACK_BYTES: usize = 512 << 10;

/// Runs `test` in as many schedules as the environment variable `SCHEDULES` says: half of them choose a random thread at
/// each step, the others change threads rarely (probabilistic concurrency testing). All threads must end.
///
/// # Panics
///
/// If `test` panics or deadlocks in a schedule. The message includes the schedule.
pub(crate) fn explore(test: impl Fn() + Send + Sync + 'static) {
    let count = std::env::var("SCHEDULES")
        .map_or(SCHEDULES_DEFAULT, |count| count.parse().expect("SCHEDULES is a number"));
    explore_times(count, test);
}

/// Explores a test that must fail. Returns the message of its failure.
pub(crate) fn failure_of(test: impl Fn() + Send + Sync + 'static) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| explore_times(SCHEDULES_DEFAULT, test)));
    text_of(&*failed.expect_err("no schedule fails")).to_owned()
}

fn explore_times(count: usize, test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let random = count.div_ceil(2);
    run(RandomScheduler::new(random), Arc::clone(&test));
    run(PctScheduler::new(PRIORITY_CHANGES, count - random), test);
}

fn run<S: Scheduler + 'static>(scheduler: S, test: Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // It only says that relaxed atomics are modelled as if they were sequentially consistent.
    config.silence_warnings = true;
    let scheduler = TimedScheduler { scheduler, chance: fastrand::Rng::new(), early_left: 0 };
    Runner::new(scheduler, config).run(move || {
        thread::begin();
        clock::start();
        test();
        thread::wait_for_all();
    });
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Lets another thread run.
fn switch() {
    shuttle::thread::sleep(std::time::Duration::ZERO);
}

/// Runs the clock only if no other thread can run, and at a few random moments.
struct TimedScheduler<S> {
    scheduler: S,
    chance: fastrand::Rng,
    /// How often the clock may still run in this schedule although another thread can run.
    early_left: usize,
}

/// The clock runs early so often per schedule.
const EARLY_RUNS_MAX: usize = 6;

/// The clock runs early in one of this number of steps.
const EARLY_RARITY: usize = 50;

impl<S: Scheduler> Scheduler for TimedScheduler<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.scheduler.new_execution()?;
        self.chance.seed(schedule.seed);
        self.early_left = EARLY_RUNS_MAX;
        clock::reset();
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let is_clock = |task: &&&Task| clock::is_clock(task.id());
        let others: Vec<&Task> = runnable.iter().filter(|task| !is_clock(task)).copied().collect();
        let Some(clock) = runnable.iter().find(is_clock).filter(|_| clock::may_run(others.is_empty())) else {
            return self.scheduler.next_task(&others, current, is_yielding);
        };
        if others.is_empty() {
            return self.scheduler.next_task(runnable, current, is_yielding);
        }
        if self.early_left > 0 && self.chance.usize(..EARLY_RARITY) == 0 {
            self.early_left -= 1;
            return Some(clock.id());
        }
        self.scheduler.next_task(&others, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}
