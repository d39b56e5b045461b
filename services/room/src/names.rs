//! Users' names, asked for together where many are wanted at the same time.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;
use tonic::Status;
use tutti_common::{ids::UserId, rpc};

/// How many are asked for at once.
const AT_ONCE: usize = 500;

/// What a call brings: names by user, without those who do not exist.
pub(crate) type Found = Result<HashMap<UserId, String>, Status>;

/// Names that are wanted. While one call is under way the others gather, and the next call is for all of them: a
/// thousand who come at the same moment need some calls, and one alone does not wait.
#[derive(Debug, Default)]
pub(crate) struct Names {
    wanted: Mutex<Vec<Wanted>>,
    turn: tokio::sync::Mutex<()>,
}

/// Whose name is wanted, and where it is waited for.
type Wanted = (UserId, oneshot::Sender<Result<Option<String>, Status>>);

impl Names {
    fn wanted(&self) -> MutexGuard<'_, Vec<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A user's name, for which `ask` may be called, or another one's.
    pub(crate) async fn of<F: Future<Output = Found>>(
        &self,
        user: UserId,
        ask: impl Fn(Vec<UserId>) -> F,
    ) -> Result<Option<String>, Status> {
        let (waiting, answer) = oneshot::channel();
        self.wanted().push((user, waiting));
        let mut answer = pin!(rpc::in_time(answer));
        loop {
            let turn = tokio::select! {
                // Whoever had the turn before has asked for this one too.
                biased;
                answer = &mut answer => {
                    let nobody = |_| Err(Status::unavailable("nobody asks any more"));
                    return answer?.unwrap_or_else(nobody);
                }
                turn = self.turn.lock() => turn,
            };
            self.ask_for_all(&ask).await;
            drop(turn);
        }
    }

    async fn ask_for_all<F: Future<Output = Found>>(&self, ask: impl Fn(Vec<UserId>) -> F) {
        let wanted = {
            let mut wanted = self.wanted();
            // Those who gave up need no answer.
            wanted.retain(|(_, waiting)| !waiting.is_closed());
            let many = wanted.len().min(AT_ONCE);
            wanted.drain(..many).collect::<Vec<_>>()
        };
        let users = wanted.iter().map(|(user, _)| *user).collect();
        // Others may have more time than the one who asks for them.
        let found = rpc::answer_by(Instant::now() + rpc::DEADLINE, ask(users)).await;
        for (user, waiting) in wanted {
            let name = match &found {
                Ok(found) => Ok(found.get(&user).cloned()),
                Err(status) => Err(status.clone()),
            };
            // An error means that it is not waited for any more.
            let _ = waiting.send(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Instant};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use tonic::{Code, Status};
    use tutti_common::{ids::UserId, rpc};

    use super::{Found, Names};

    /// Answers once it may, and remembers how many it was asked for each time.
    struct Asked {
        may_answer: Semaphore,
        calls: Mutex<Vec<usize>>,
    }

    impl Asked {
        fn new() -> Self {
            Self {
                may_answer: Semaphore::new(0),
                calls: Mutex::default(),
            }
        }

        async fn ask(&self, users: Vec<UserId>) -> Found {
            self.calls.lock().unwrap().push(users.len());
            self.may_answer.acquire().await.unwrap().forget();
            if self.calls.lock().unwrap().len() == 2 {
                return Err(Status::unavailable("the second time"));
            }
            let names = users.into_iter().map(|user| (user, format!("the {user}")));
            Ok(names.collect())
        }

        fn calls(&self) -> Vec<usize> {
            self.calls.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn one_alone_does_not_wait_and_those_who_come_meanwhile_are_asked_for_together() {
        let (names, asked) = (Names::default(), Asked::new());
        let name_of = |user| names.of(user, |users| asked.ask(users));
        let [first, unlucky, last] = [(); 3].map(|()| UserId::new());
        let two = async {
            let crowd = join_all((0..800).map(|_| name_of(unlucky)));
            tokio::join!(name_of(first), crowd)
        };
        let ((alone, crowd), ()) = tokio::join!(two, async {
            assert_eq!(asked.calls(), [1]);
            asked.may_answer.add_permits(3);
        });
        assert_eq!(alone.unwrap(), Some(format!("the {first}")));
        // What fails does so for those it was for, and for nobody else.
        assert_eq!(asked.calls(), [1, 500, 300]);
        let failed = crowd.iter().filter(|name| name.is_err()).count();
        assert_eq!(failed, 500);
        asked.may_answer.add_permits(1);
        assert_eq!(name_of(last).await.unwrap(), Some(format!("the {last}")));
    }

    #[tokio::test]
    async fn nobody_is_asked_for_who_does_not_wait_any_more() {
        let (names, asked) = (Names::default(), Asked::new());
        let name_of = |user| names.of(user, |users| asked.ask(users));
        let first = name_of(UserId::new());
        let impatient = async {
            let name = rpc::answer_by(Instant::now(), name_of(UserId::new())).await;
            assert_eq!(name.unwrap_err().code(), Code::DeadlineExceeded);
            asked.may_answer.add_permits(1);
        };
        let (first, ()) = tokio::join!(first, impatient);
        first.unwrap();
        assert_eq!(asked.calls(), [1]);
        asked.may_answer.add_permits(1);
        name_of(UserId::new()).await.unwrap_err();
        assert_eq!(asked.calls(), [1, 1]);
    }

    #[tokio::test]
    async fn who_does_not_exist_has_no_name() {
        let names = Names::default();
        let nobody = |_| async { Found::Ok([].into()) };
        assert_eq!(names.of(UserId::new(), nobody).await.unwrap(), None);
    }
}
