//! Channels with the interface of crossbeam's, in the forms that the crate uses.
//!
//! Invariant: no thread switches while it holds the lock of a channel.

use crate::sync::explored::clock::{self, WaitToken};
use crate::sync::explored::switch;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// The sending end.
pub(crate) struct Sender<T>(Arc<Queue<T>>);

/// The receiving end.
pub struct Receiver<T>(ReceiverKind<T>);

enum ReceiverKind<T> {
    Queue(Arc<Queue<T>>),
    /// Has a message from this time on.
    Timer(Duration, fn() -> T),
    Never,
}

struct Queue<T> {
    state: Mutex<QueueState<T>>,
    /// A sender of a channel without capacity waits until its message is received.
    is_rendezvous: bool,
    /// At least 1.
    capacity: usize,
}

struct QueueState<T> {
    messages: VecDeque<T>,
    /// The number of messages received so far.
    received: u64,
    senders: usize,
    receivers: usize,
    waiting_senders: WaitList,
    waiting_receivers: WaitList,
}

#[derive(Default)]
struct WaitList(Vec<(Arc<WaitToken>, usize)>);

impl WaitList {
    fn add(&mut self, token: &Arc<WaitToken>, operation: usize) {
        self.0.push((Arc::clone(token), operation));
    }

    fn remove(&mut self, token: &Arc<WaitToken>) {
        self.0.retain(|(other, _)| !Arc::ptr_eq(other, token));
    }

    /// Chooses the first thread that nothing else wakes.
    fn first(&self) -> Option<Arc<WaitToken>> {
        let first = self.0.iter().find(|(token, operation)| token.choose(*operation));
        first.map(|(token, _)| Arc::clone(token))
    }

    fn all(&self) -> Vec<Arc<WaitToken>> {
        let all = self.0.iter().filter(|(token, operation)| token.choose(*operation));
        all.map(|(token, _)| Arc::clone(token)).collect()
    }
}

fn wake(tokens: impl IntoIterator<Item = Arc<WaitToken>>) {
    tokens.into_iter().for_each(|token| token.wake());
}

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = QueueState {
        messages: VecDeque::new(),
        received: 0,
        senders: 1,
        receivers: 1,
        waiting_senders: WaitList::default(),
        waiting_receivers: WaitList::default(),
    };
    let queue = Queue { state: Mutex::new(state), is_rendezvous: capacity == 0, capacity: capacity.max(1) };
    let queue = Arc::new(queue);
    (Sender(Arc::clone(&queue)), Receiver(ReceiverKind::Queue(queue)))
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

pub(crate) fn never<T>() -> Receiver<T> {
    Receiver(ReceiverKind::Never)
}

pub(crate) fn after(time: Duration) -> Receiver<Instant> {
    clock::now().checked_add(time).map_or_else(never, |due| Receiver(ReceiverKind::Timer(due, Instant::now)))
}

pub(crate) fn at(time: Instant) -> Receiver<Instant> {
    after(time.saturating_duration_since(Instant::now()))
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message if there is room. Returns its number.
    fn push(&self, message: T) -> Result<u64, TrySendError<T>> {
        let mut state = self.lock();
        if state.receivers == 0 {
            return Err(TrySendError::Disconnected(message));
        }
        if state.messages.len() >= self.capacity {
            return Err(TrySendError::Full(message));
        }
        state.messages.push_back(message);
        let number = state.received + state.messages.len() as u64;
        let receiver = state.waiting_receivers.first();
        drop(state);
        wake(receiver);
        Ok(number)
    }

    fn pop(&self) -> Result<T, TryRecvError> {
        let mut state = self.lock();
        let Some(message) = state.messages.pop_front() else {
            return Err(if state.senders == 0 { TryRecvError::Disconnected } else { TryRecvError::Empty });
        };
        state.received += 1;
        let senders = if self.is_rendezvous {
            state.waiting_senders.all()
        } else {
            Vec::from_iter(state.waiting_senders.first())
        };
        drop(state);
        wake(senders);
        Ok(message)
    }

    /// Waits for the next change that concerns senders, unless `is_done`.
    fn wait_to_send(&self, is_done: impl Fn(&QueueState<T>) -> bool) {
        let token = WaitToken::new();
        let mut state = self.lock();
        if is_done(&state) {
            return;
        }
        state.waiting_senders.add(&token, 0);
        drop(state);
        token.wait();
        self.lock().waiting_senders.remove(&token);
    }
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        assert!(!self.0.is_rendezvous, "not needed so far");
        switch();
        self.0.push(message).map(drop)
    }

    pub(crate) fn send(&self, mut message: T) -> Result<(), SendError<T>> {
        let queue = &self.0;
        switch();
        let number = loop {
            match queue.push(message) {
                Ok(number) => break number,
                Err(TrySendError::Disconnected(message)) => return Err(SendError(message)),
                Err(TrySendError::Full(returned)) => message = returned,
            }
            queue.wait_to_send(|state| state.receivers == 0 || state.messages.len() < queue.capacity);
        };
        while queue.is_rendezvous {
            let mut state = queue.lock();
            if state.received >= number {
                break;
            }
            // Without receivers, the message is still there.
            if state.receivers == 0
                && let Some(message) = state.messages.pop_front()
            {
                return Err(SendError(message));
            }
            drop(state);
            queue.wait_to_send(|state| state.receivers == 0 || state.received >= number);
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        select(&[self]);
        self.accept()
    }

    pub(crate) fn recv_timeout(&self, time: Duration) -> Result<T, RecvTimeoutError> {
        match select(&[self, &after(time)]) {
            0 => self.accept().map_err(|_| RecvTimeoutError::Disconnected),
            _ => Err(RecvTimeoutError::Timeout),
        }
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        switch();
        match &self.0 {
            ReceiverKind::Queue(queue) => queue.pop(),
            _ if self.is_ready() => self.accept().map_err(|_| TryRecvError::Empty),
            _ => Err(TryRecvError::Empty),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            ReceiverKind::Queue(queue) => queue.lock().messages.len(),
            _ => 0,
        }
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        match &self.0 {
            ReceiverKind::Queue(queue) => Some(queue.capacity).filter(|capacity| *capacity < usize::MAX),
            _ => None,
        }
    }

    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// Completes the operation that [`select`] has chosen.
    pub(crate) fn accept(&self) -> Result<T, RecvError> {
        match &self.0 {
            ReceiverKind::Queue(queue) => queue.pop().map_err(|_| RecvError),
            ReceiverKind::Timer(_, message) => Ok(message()),
            ReceiverKind::Never => Err(RecvError),
        }
    }
}

impl<'r, T: 'r> IntoIterator for &'r Receiver<T> {
    type Item = T;
    type IntoIter = Box<dyn Iterator<Item = T> + 'r>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(std::iter::from_fn(|| self.recv().ok()))
    }
}

/// A receiver of any type.
pub(crate) trait Selectable {
    fn is_ready(&self) -> bool;
    fn register(&self, token: &Arc<WaitToken>, operation: usize);
    fn deregister(&self, token: &Arc<WaitToken>);
}

impl<T> Selectable for Receiver<T> {
    fn is_ready(&self) -> bool {
        match &self.0 {
            ReceiverKind::Queue(queue) => {
                let state = queue.lock();
                !state.messages.is_empty() || state.senders == 0
            }
            ReceiverKind::Timer(due, _) => clock::now() >= *due,
            ReceiverKind::Never => false,
        }
    }

    fn register(&self, token: &Arc<WaitToken>, operation: usize) {
        match &self.0 {
            ReceiverKind::Queue(queue) => queue.lock().waiting_receivers.add(token, operation),
            ReceiverKind::Timer(due, _) => clock::register(*due, token, operation),
            ReceiverKind::Never => {}
        }
    }

    fn deregister(&self, token: &Arc<WaitToken>) {
        match &self.0 {
            ReceiverKind::Queue(queue) => queue.lock().waiting_receivers.remove(token),
            ReceiverKind::Timer(..) => clock::deregister(token),
            ReceiverKind::Never => {}
        }
    }
}

impl<S: Selectable> Selectable for &S {
    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn register(&self, token: &Arc<WaitToken>, operation: usize) {
        (**self).register(token, operation);
    }

    fn deregister(&self, token: &Arc<WaitToken>) {
        (**self).deregister(token);
    }
}

/// Waits for one of these receivers. If several are ready, the first counts, but after a wait the one that ended it.
pub(crate) fn select(receivers: &[&dyn Selectable]) -> usize {
    switch();
    loop {
        if let Some(ready) = receivers.iter().position(|receiver| receiver.is_ready()) {
            return ready;
        }
        let token = WaitToken::new();
        for (operation, receiver) in receivers.iter().enumerate() {
            receiver.register(&token, operation);
        }
        let chosen = token.wait();
        receivers.iter().for_each(|receiver| receiver.deregister(&token));
        if receivers[chosen].is_ready() {
            return chosen;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            ReceiverKind::Queue(queue) => {
                queue.lock().receivers += 1;
                ReceiverKind::Queue(Arc::clone(queue))
            }
            ReceiverKind::Timer(due, message) => ReceiverKind::Timer(*due, *message),
            ReceiverKind::Never => ReceiverKind::Never,
        })
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        switch();
        let mut state = self.0.lock();
        state.senders -= 1;
        let receivers = if state.senders == 0 { state.waiting_receivers.all() } else { Vec::new() };
        drop(state);
        wake(receivers);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let ReceiverKind::Queue(queue) = &self.0 else { return };
        switch();
        let mut state = queue.lock();
        state.receivers -= 1;
        if state.receivers > 0 {
            return;
        }
        let senders = state.waiting_senders.all();
        // The sender of a channel without capacity takes its message back.
        let messages =
            if queue.is_rendezvous { VecDeque::new() } else { std::mem::take(&mut state.messages) };
        drop(state);
        wake(senders);
        drop(messages);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// Waits for several receivers, the first before the others.
macro_rules! select_biased {
    ($(recv($receiver:expr) -> $message:pat => $body:expr),+ $(,)?) => {
        $crate::sync::channel::select_biased!(@number [a 0 b 1 c 2 d 3] [] $(($receiver, $message, $body))+)
    };
    (@number [$name:ident $number:literal $($more:tt)*] [$($done:tt)*] ($($arm:tt)+) $($arms:tt)*) => {
        $crate::sync::channel::select_biased!(@number [$($more)*] [$($done)* ($name, $number, $($arm)+)] $($arms)*)
    };
    (@number $more:tt [$(($name:ident, $number:literal, $receiver:expr, $message:pat, $body:expr))+]) => {{
        $(let $name = &$receiver;)+
        match $crate::sync::explored::channel::select(&[$($name),+]) {
            $($number => {
                let $message = $name.accept();
                $body
            })+
            _ => unreachable!("one of them is chosen"),
        }
    }};
}
pub(crate) use select_biased;
