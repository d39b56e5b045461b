//! Whose password is hashed next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How many of one client may wait. A processor hashes some 30 a second, so more would wait for longer than callers do.
const MAX_WAITING: usize = 500;

/// Gives out the processors to those who hash passwords. Clients take turns: however many of one client wait, the next one
/// of another waits for no more than one hash of each.
#[derive(Clone, Debug)]
pub(crate) struct HashingQueue {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Processors that nobody uses; none while somebody waits.
    free: usize,
    /// The clients of `waiting`, the next one first.
    clients: VecDeque<String>,
    /// Those of each client that wait, the first one first. Some may have gone.
    waiting: HashMap<String, VecDeque<oneshot::Sender<Slot>>>,
}

/// A processor to hash one password on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    queue: Option<HashingQueue>,
}

/// As many of the client wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords of one client to hash")]
pub(crate) struct Full;

impl HashingQueue {
    /// For that many processors.
    pub(crate) fn new(processors: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                free: processors,
                clients: VecDeque::new(),
                waiting: HashMap::new(),
            })),
        }
    }

    /// Waits until it is the client's turn. A caller who stops waiting leaves the queue.
    pub(crate) async fn wait(&self, client: &str) -> Result<Slot, Full> {
        let slot = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(self.slot());
            }
            state.add(client)?
        };
        // The sender stays in the queue, and each of its slots holds that.
        slot.await.map_err(|_| Full)
    }

    fn slot(&self) -> Slot {
        Slot {
            queue: Some(self.clone()),
        }
    }

    /// Gives a processor to the next one who waits.
    fn give_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            match next.send(self.slot()) {
                Ok(()) => return,
                // Gone since: its slot is not to give the processor on by itself.
                Err(mut unused) => unused.queue = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, client: &str) -> Result<oneshot::Receiver<Slot>, Full> {
        let (sender, receiver) = oneshot::channel();
        if let Some(line) = self.waiting.get_mut(client) {
            if line.len() >= MAX_WAITING {
                line.retain(|waiting| !waiting.is_closed());
            }
            if line.len() >= MAX_WAITING {
                return Err(Full);
            }
            line.push_back(sender);
        } else {
            self.clients.push_back(client.to_owned());
            self.waiting
                .insert(client.to_owned(), VecDeque::from([sender]));
        }
        Ok(receiver)
    }

    /// The first of the next client who has one that still waits. The client's others wait until all clients had a turn.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
        while let Some(client) = self.clients.pop_front() {
            let Some(line) = self.waiting.get_mut(&client) else {
                continue;
            };
            let next = std::iter::from_fn(|| line.pop_front()).find(|next| !next.is_closed());
            if line.is_empty() {
                self.waiting.remove(&client);
            } else {
                self.clients.push_back(client);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.give_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::BoxFuture, poll};

    use super::{Full, HashingQueue, MAX_WAITING, Slot};

    /// One that waits already.
    async fn waiting(queue: &HashingQueue, client: &'static str) -> BoxFuture<'static, Slot> {
        let queue = queue.clone();
        let mut slot = async move { queue.wait(client).await.unwrap() }.boxed();
        assert!(poll!(slot.as_mut()).is_pending());
        slot
    }

    #[tokio::test]
    async fn clients_take_turns_however_many_of_one_wait() {
        let queue = HashingQueue::new(1);
        let busy = queue.wait("flood").await.unwrap();
        let mut flood = Vec::new();
        for _ in 0..MAX_WAITING {
            flood.push(waiting(&queue, "flood").await);
        }
        assert_eq!(queue.wait("flood").await.unwrap_err(), Full);
        let ann = waiting(&queue, "ann").await;
        let ben = waiting(&queue, "ben").await;
        drop(busy);
        // One of the flood came first; Ann and Ben are next, and then the flood again.
        drop(flood.remove(0).now_or_never().unwrap());
        assert!(flood[0].as_mut().now_or_never().is_none());
        drop(ann.now_or_never().unwrap());
        drop(ben.now_or_never().unwrap());
        drop(flood.remove(0).now_or_never().unwrap());
    }

    #[tokio::test]
    async fn those_who_have_gone_are_passed_over_and_leave_room() {
        let queue = HashingQueue::new(1);
        let busy = queue.wait("flood").await.unwrap();
        for _ in 0..2 * MAX_WAITING + 7 {
            drop(waiting(&queue, "flood").await);
        }
        let still_there = waiting(&queue, "flood").await;
        let ann = waiting(&queue, "ann").await;
        drop(busy);
        // Those before it cost it no turn.
        drop(still_there.now_or_never().unwrap());
        let slot = ann.now_or_never().unwrap();
        // Gone after the slot was given to it, and before it took it.
        let late = waiting(&queue, "flood").await;
        drop(slot);
        drop(late);
        drop(queue.wait("ben").now_or_never().unwrap().unwrap());
        let state = queue.state();
        assert_eq!((state.free, state.clients.len()), (1, 0));
        assert!(state.waiting.is_empty());
    }
}
