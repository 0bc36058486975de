//! A pool of threads with the interface of rayon's. Its threads live as long as a scope.

use crate::sync::channel::{Sender, unbounded};
use crate::sync::thread;
use shuttle::rand::Rng as _;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Creates a pool.
#[derive(Default)]
pub(crate) struct ThreadPoolBuilder {
    threads: usize,
    names: Vec<String>,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn num_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    pub(crate) fn thread_name(self, name: impl Fn(usize) -> String) -> Self {
        Self { names: (0..self.threads).map(name).collect(), ..self }
    }

    pub(crate) fn build(self) -> io::Result<ThreadPool> {
        Ok(ThreadPool { names: self.names })
    }
}

/// A pool with one thread per name.
pub(crate) struct ThreadPool {
    names: Vec<String>,
}

/// Tasks that have not begun.
type PendingTasks<'scope> = Mutex<Vec<Box<dyn FnOnce(()) + Send + 'scope>>>;

/// Starts tasks, which end before the scope ends.
pub(crate) struct TaskScope<'scope> {
    started: Sender<()>,
    tasks: Arc<PendingTasks<'scope>>,
}

pub(crate) use TaskScope as Scope;

impl<'scope> TaskScope<'scope> {
    pub(crate) fn spawn(&self, task: impl FnOnce(()) + Send + 'scope) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(task));
        let _ = self.started.send(());
    }
}

impl ThreadPool {
    /// Runs `work` on this thread and its tasks on those of the pool, in a random order. Panics at the end if one of them
    /// has panicked.
    pub(crate) fn in_place_scope<'scope, T>(&self, work: impl FnOnce(&TaskScope<'scope>) -> T) -> T {
        let (started, starting) = unbounded();
        let tasks = Arc::<PendingTasks<'scope>>::default();
        let panic = Mutex::new(None::<Box<dyn Any + Send>>);
        let result = thread::scope(|threads| {
            for name in &self.names {
                let (starting, tasks, panic) = (starting.clone(), Arc::clone(&tasks), &panic);
                let run = move || {
                    while starting.recv().is_ok() {
                        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
                        let index = shuttle::rand::thread_rng().gen_range(0..tasks.len());
                        let task = tasks.swap_remove(index);
                        drop(tasks);
                        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(()))) {
                            panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
                        }
                    }
                };
                thread::Builder::new().name(name.clone()).spawn_scoped(threads, run).expect("it starts");
            }
            let scope = TaskScope { started, tasks };
            catch_unwind(AssertUnwindSafe(|| work(&scope)))
        });
        let panic = panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (result, panic) {
            (Err(panic), _) | (Ok(_), Some(panic)) => resume_unwind(panic),
            (Ok(result), None) => result,
        }
    }
}
