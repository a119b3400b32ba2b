use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::encode::Sequence;

type Reply = oneshot::Receiver<Result<Answer, EngineError>>;

/// A window of `tokens`, which also tell it apart.
fn job(tokens: usize) -> (Job, Reply) {
    let (reply, answer) = oneshot::channel();
    let ids = vec![0; tokens];
    let sequences = vec![Sequence {
        cases: ids.clone(),
        ids,
    }];
    let room = Arc::new(Semaphore::new(1));
    let job = Job {
        window: Window {
            sequences,
            sentences: Vec::new(),
        },
        deadline: None,
        entered: Instant::now(),
        reply,
        _room: room.try_acquire_owned().unwrap(),
    };
    (job, answer)
}

fn take(queue: &Queue, most: usize, counters: &Counters) -> Vec<usize> {
    let batch = queue.next_batch(most, counters).unwrap();
    batch.iter().map(|job| job.window.tokens()).collect()
}

#[test]
fn articles_take_turns() {
    let (queue, counters) = (Queue::default(), Counters::default());
    let mut replies = Vec::new();
    for (lane, tokens) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31), (2, 22)] {
        let (job, reply) = job(tokens);
        assert!(queue.push(lane, job));
        replies.push(reply);
    }
    assert_eq!(take(&queue, 40, &counters), [11, 21]);
    assert_eq!(take(&queue, 50, &counters), [31, 12]);
    assert_eq!(take(&queue, 1, &counters), [22], "too large goes alone");
    assert_eq!(take(&queue, 50, &counters), [13]);
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    let (queue, counters) = (Queue::default(), Counters::default());
    let (left, reply) = job(10);
    drop(reply);
    let (late, mut expired) = job(11);
    let late = Job {
        deadline: Instant::now().checked_sub(Duration::from_millis(1)),
        ..late
    };
    let (good, _reply) = job(12);
    for job in [left, late, good] {
        assert!(queue.push(1, job));
    }
    assert_eq!(take(&queue, 100, &counters), [12]);
    assert!(matches!(expired.try_recv(), Ok(Err(EngineError::Expired))));
    assert_eq!(counters.cancelled.into_inner(), 1);
    assert_eq!(counters.expired.into_inner(), 1);
}

/// What becomes of a job while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Somebody waits for its answer.
    Wanted,
    /// Nobody does any more.
    Left,
    /// Its deadline has passed.
    Late,
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        lane: usize,
        tokens: usize,
        fate: Fate,
    },
    Take {
        most: usize,
    },
}

/// Lanes whose jobs are all wanted; in the others anything may happen.
const SOUND: usize = 3;
const LANES: usize = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop::sample::select(vec![Fate::Wanted, Fate::Left, Fate::Late]);
    let push = (0..LANES, 1..60_usize, fate).prop_map(|(lane, tokens, fate)| Step::Push {
        lane,
        tokens,
        fate: if lane < SOUND { Fate::Wanted } else { fate },
    });
    let take = (1..200_usize).prop_map(|most| Step::Take { most });
    prop::collection::vec(prop_oneof![3 => push, 1 => take], 0..120)
}

/// What the queue should do, watched from outside. Jobs are known by their number.
#[derive(Default)]
struct Watch {
    queue: Queue,
    counters: Counters,
    jobs: Vec<(usize, Fate)>,
    replies: Vec<Option<Reply>>,
    /// Wanted jobs that wait, of each lane, in order.
    waiting: [VecDeque<usize>; LANES],
    /// How many windows of a lane have gone past the first that waits of another.
    passed: [[usize; LANES]; LANES],
}

impl Watch {
    fn push(&mut self, lane: usize, tokens: usize, fate: Fate) {
        let number = self.jobs.len();
        let (mut job, reply) = job(tokens);
        job.window.sequences[0].ids.fill(number as u32);
        if fate == Fate::Late {
            job.deadline = Some(Instant::now());
        }
        assert!(self.queue.push(lane as u64, job));
        self.jobs.push((lane, fate));
        self.replies.push((fate != Fate::Left).then_some(reply));
        if fate == Fate::Wanted {
            if self.waiting[lane].is_empty() {
                self.passed[lane] = [0; LANES];
            }
            self.waiting[lane].push_back(number);
        }
    }

    /// Takes a batch, if there is one to take, and answers it.
    fn take(&mut self, most: usize) {
        if self.waiting.iter().all(VecDeque::is_empty) {
            return;
        }
        let batch = self.queue.next_batch(most, &self.counters).unwrap();
        let tokens: usize = batch.iter().map(|job| job.window.tokens()).sum();
        assert!(
            !batch.is_empty() && (tokens <= most || batch.len() == 1),
            "the budget"
        );
        for job in batch {
            let number = job.window.sequences[0].ids[0] as usize;
            let (lane, fate) = self.jobs[number];
            assert_eq!(fate, Fate::Wanted, "the others never reach a worker");
            assert_eq!(
                self.waiting[lane].pop_front(),
                Some(number),
                "in order, each once"
            );
            self.took_turn(lane);
            job.reply
                .send(Err(EngineError::Failed(number.to_string())))
                .unwrap();
        }
    }

    fn took_turn(&mut self, lane: usize) {
        self.passed[lane] = [0; LANES];
        for other in (0..SOUND).filter(|&other| other != lane) {
            if !self.waiting[other].is_empty() {
                self.passed[other][lane] += 1;
                assert!(
                    self.passed[other][lane] <= 1,
                    "{lane} went twice before {other}"
                );
            }
        }
    }

    /// Everybody has had what is theirs, once.
    fn end(mut self) {
        for lane in 0..LANES {
            self.push(lane, 1, Fate::Wanted);
        }
        while self.waiting.iter().any(|lane| !lane.is_empty()) {
            self.take(100);
        }
        for (number, reply) in self.replies.into_iter().enumerate() {
            let expect = match self.jobs[number].1 {
                Fate::Wanted => EngineError::Failed(number.to_string()),
                Fate::Late => EngineError::Expired,
                Fate::Left => continue,
            };
            assert_eq!(reply.unwrap().try_recv().unwrap().unwrap_err(), expect);
        }
        let count = |fate| self.jobs.iter().filter(|job| job.1 == fate).count() as u64;
        assert_eq!(self.counters.cancelled.into_inner(), count(Fate::Left));
        assert_eq!(self.counters.expired.into_inner(), count(Fate::Late));
        assert!(self.queue.oldest().is_none());
        assert_eq!(self.queue.lock().tokens, 0);
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_once_in_turn_and_within_the_budget(steps in steps()) {
        let mut watch = Watch::default();
        for step in steps {
            match step {
                Step::Push { lane, tokens, fate } => watch.push(lane, tokens, fate),
                Step::Take { most } => watch.take(most),
            }
        }
        watch.end();
    }
}
