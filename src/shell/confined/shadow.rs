//! The second engine of a policy in service: a confined interpreter that lives as long as the policy does.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{Confined, ConfinedLimits};
use crate::decide::{Answer, Bundle, DecideError, Shadow, ShadowAnswer};

/// How long a fresh decision waits for the second answer. It comes within a few milliseconds, or the machine is too busy
/// to ask for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// Questions that wait for the one process. One more is not asked.
const WAITING: usize = 4;
/// The most processes that are started in a minute. A policy that breaks them faster is not compared, which is told.
const STARTS_A_MINUTE: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// A question that stood this long behind others has nobody who waits for it.
const STALE: Duration = Duration::from_secs(1);

/// A confined interpreter in service. Dropping it ends the process.
pub struct ConfinedShadow {
    questions: SyncSender<Question>,
    patience: Duration,
}

struct Question {
    input: String,
    asked: Instant,
    answer: SyncSender<Result<Answer, DecideError>>,
}

impl ConfinedShadow {
    /// Starts a process for the bundle; `program` as for [`Confined::start`].
    ///
    /// # Errors
    /// As [`Confined::start`], and `bundle_unconfinable` when there is no thread to be had.
    pub fn start(bundle: &Bundle, program: Option<PathBuf>, limits: ConfinedLimits) -> Result<Self, DecideError> {
        let (questions, asked) = sync_channel::<Question>(WAITING);
        let (started, first) = sync_channel(1);
        let bundle = bundle.clone();
        // The child ends with the thread that started it, so that thread is one that stays.
        let thread = std::thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            let start = || Confined::start(program.as_deref(), &bundle, limits);
            let mut confined = match start() {
                Ok(confined) => confined,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            // Whoever started us waits for this, so it is received.
            let _ = started.send(Ok(()));
            serve(&asked, &mut confined, start);
        });
        thread.map_err(|error| super::unconfinable(format!("no thread can be started: {error}")))?;
        first.recv().map_err(|_| super::unconfinable("its thread ended at once".to_owned()))??;
        Ok(Self { questions, patience: PATIENCE })
    }

    /// The same, with another time to wait for an answer.
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

/// Answers until nobody can ask any more.
fn serve(questions: &Receiver<Question>, confined: &mut Confined, start: impl Fn() -> Result<Confined, DecideError>) {
    let mut starts = VecDeque::from([Instant::now()]);
    let mut broken: Option<DecideError> = None;
    for question in questions {
        // Nobody waits any longer for a question that stood this long behind others.
        if question.asked.elapsed() > STALE {
            continue;
        }
        if broken.is_some() {
            while starts.front().is_some_and(|start| start.elapsed() >= MINUTE) {
                starts.pop_front();
            }
            if starts.len() < STARTS_A_MINUTE {
                starts.push_back(Instant::now());
                match start() {
                    Ok(fresh) => {
                        *confined = fresh;
                        broken = None;
                    }
                    Err(error) => broken = Some(error),
                }
            }
        }
        let answer = match &broken {
            Some(error) => Err(error.clone()),
            None => confined.evaluate(&question.input),
        };
        if let Err(error) = &answer {
            broken = Some(error.clone());
        }
        // Whoever asked may have given up.
        let _ = question.answer.try_send(answer);
    }
}

impl Shadow for ConfinedShadow {
    fn answer(&self, input: &str) -> ShadowAnswer {
        let (answer, answered) = sync_channel(1);
        let question = Question { input: input.to_owned(), asked: Instant::now(), answer };
        if self.questions.try_send(question).is_err() {
            return ShadowAnswer::Missing("it has too many questions to answer".to_owned());
        }
        match answered.recv_timeout(self.patience) {
            Ok(Ok(answer)) => ShadowAnswer::Given(answer),
            Ok(Err(error)) => ShadowAnswer::Missing(error.to_string()),
            Err(RecvTimeoutError::Timeout) => {
                ShadowAnswer::Missing(format!("it did not answer within {} ms", self.patience.as_millis()))
            }
            Err(RecvTimeoutError::Disconnected) => ShadowAnswer::Missing("its thread ended".to_owned()),
        }
    }
}
