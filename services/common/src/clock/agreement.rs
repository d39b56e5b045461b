//! How a process agrees with the others on the time: what it makes of each look at Redis's clock.
//!
//! The machine's clock goes on by itself and is never set. So if a look contradicts the ones before, Redis's clock was
//! set, or another server with another clock took over, and the agreed time must not follow: what is added to Redis's
//! clock is changed, once for all. Or this machine stood still, as a virtual machine does while it is moved: then the
//! others find that nothing has changed, and say so.

use super::{
    agreed::{Look, Looks},
    lineage::{Lineage, Reconciled, reconcile},
};

/// What a clock is set by at least, in milliseconds, when it is set. What is less may be its being put right slowly, and
/// is followed slowly.
pub const STEP_MS: f64 = 25.0;

/// How long a process waits, before it says that Redis's clock was set, for others to say that it was not: all look
/// once a second. Milliseconds.
const DOUBT_MS: f64 = 1_900.0;

/// How long a process has known the time before it vouches for it. Who starts after Redis's clock was set must not
/// vouch for the new time before the others have said what it is. Milliseconds.
const VOUCHES_AFTER_MS: f64 = 5_000.0;

/// What Redis answers to a look.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was asked, by the machine's clock, in Unix milliseconds.
    pub asked_ms: f64,
    /// When the answer was there, likewise.
    pub answered_ms: f64,
    /// What its clock says, in Unix microseconds.
    pub redis_us: i64,
    /// What is to be added to that.
    pub lineage: Option<Lineage>,
    /// How often somebody has found the sum to be right; it may begin anew.
    pub confirmed: i64,
}

/// What is to be written into Redis, if it still has what it had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// What it has.
    pub expected: Option<Lineage>,
    /// What it is to have.
    pub lineage: Lineage,
    /// By how many milliseconds its clock was set forward, if that is why.
    pub set_by_ms: Option<f64>,
}

/// What a look means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// What is to be written.
    pub proposal: Option<Proposal>,
    /// What happened, if this process is to go by another time at once.
    pub event: Option<Event>,
}

/// Why a process goes by another time than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The others go on as before: it was this machine's clock that stood still.
    WasLeftBehind,
    /// The others have agreed on another time.
    OthersAgreedOtherwise,
}

/// What a process knows of the agreed time.
#[derive(Debug, Default)]
pub struct Agreement {
    lineage: Option<Lineage>,
    /// Of the agreed time, not of Redis's clock.
    looks: Looks,
    /// When a look first contradicted them, by the machine's clock.
    in_doubt_since_ms: Option<f64>,
    /// Since when it goes by the time it goes by.
    since_ms: Option<f64>,
    /// When last looked.
    confirmed: i64,
}

impl Agreement {
    /// What is to be added to the machine's clock, when that says `now_ms`. `None` before the first look.
    #[must_use]
    pub fn offset_ms(&self, now_ms: f64) -> Option<f64> {
        self.looks.offset_ms(now_ms)
    }

    /// What is added to Redis's clock, in milliseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
    pub fn ahead_ms(&self) -> f64 {
        self.lineage.map_or(0, |lineage| lineage.ahead_us) as f64 / 1_000.0
    }

    /// What the agreed time will be, in microseconds, when a look that is sent now is with Redis; `None` where this
    /// process does not know better than others.
    #[must_use]
    pub fn vouches_for_us(&self, now_ms: f64) -> Option<i64> {
        let known_for_ms = now_ms - self.since_ms?;
        if known_for_ms < VOUCHES_AFTER_MS || self.in_doubt_since_ms.is_some() {
            return None;
        }
        let look = self.looks.best(now_ms)?;
        Some(to_us(now_ms + look.offset_ms + look.round_trip_ms / 2.0))
    }

    /// Takes in an answer.
    pub fn hear(&mut self, answer: &Answer) -> Heard {
        let confirmed = std::mem::replace(&mut self.confirmed, answer.confirmed);
        let is_confirmed = answer.confirmed > confirmed;
        let now_ms = answer.answered_ms;
        let agreed_us = to_us(now_ms + self.offset_ms(now_ms).unwrap_or_default());
        let mut heard = Heard::default();
        let (lineage, is_news) =
            match reconcile(self.lineage, agreed_us, answer.lineage, answer.redis_us) {
                Reconciled::Same => (self.lineage, false),
                Reconciled::Adopt(lineage) => (Some(lineage), self.lineage.is_some()),
                Reconciled::Write(lineage) => {
                    heard.proposal = Some(Proposal {
                        expected: answer.lineage,
                        lineage,
                        set_by_ms: None,
                    });
                    (Some(lineage), false)
                }
            };
        self.lineage = lineage;
        let look = look(answer, lineage.map_or(0, |lineage| lineage.ahead_us));
        let Some(set_by_ms) = self.looks.contradiction_ms(&look, STEP_MS) else {
            self.follow(look);
            return heard;
        };
        if is_news {
            heard.event = Some(Event::OthersAgreedOtherwise);
            self.follow_another(look);
            return heard;
        }
        let Some(since_ms) = self.in_doubt_since_ms else {
            // Others may have confirmed it before it was set.
            self.in_doubt_since_ms = Some(now_ms);
            return heard;
        };
        if is_confirmed {
            heard.event = Some(Event::WasLeftBehind);
            self.follow_another(look);
        } else if now_ms - since_ms >= DOUBT_MS && heard.proposal.is_none() {
            heard.proposal = lineage.map(|lineage| Proposal {
                expected: answer.lineage,
                lineage: lineage.after_step(to_us(set_by_ms)),
                set_by_ms: Some(set_by_ms),
            });
        }
        heard
    }

    /// What was proposed is in Redis now.
    pub fn written(&mut self, proposal: &Proposal) {
        self.lineage = Some(proposal.lineage);
        if proposal.set_by_ms.is_some() {
            self.in_doubt_since_ms = None;
        }
    }

    fn follow(&mut self, look: Look) {
        self.since_ms.get_or_insert(look.at_ms);
        self.in_doubt_since_ms = None;
        self.looks.add(look);
    }

    fn follow_another(&mut self, look: Look) {
        self.looks.clear();
        self.since_ms = None;
        self.follow(look);
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
fn look(answer: &Answer, ahead_us: i64) -> Look {
    let agreed_ms = (answer.redis_us + ahead_us) as f64 / 1_000.0;
    Look {
        at_ms: answer.answered_ms,
        offset_ms: agreed_ms - f64::midpoint(answer.asked_ms, answer.answered_ms),
        round_trip_ms: answer.answered_ms - answer.asked_ms,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "exact for the next 285 years"
)]
fn to_us(ms: f64) -> i64 {
    (ms * 1_000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::{Agreement, Answer, Event, Heard, STEP_MS, to_us};
    use crate::clock::Lineage;

    /// When all of this begins, in Unix milliseconds.
    const BEGAN_MS: f64 = 1_700_000_000_000.0;

    /// Redis, as far as clocks are concerned, as the scripts have it. True time is passed in.
    #[derive(Default)]
    struct Server {
        set_by_ms: f64,
        lineage: Option<Lineage>,
        confirmed: i64,
    }

    /// A process, on a machine whose clock is wrong by so much.
    #[derive(Default)]
    struct Process {
        agreement: Agreement,
        wrong_by_ms: f64,
    }

    impl Process {
        /// Looks once, at a true time after the beginning.
        fn look(&mut self, server: &mut Server, at_ms: f64) -> Heard {
            let asked_ms = BEGAN_MS + at_ms + self.wrong_by_ms;
            let vouched = self.agreement.vouches_for_us(asked_ms);
            let redis_us = to_us(BEGAN_MS + at_ms + 0.1 + server.set_by_ms);
            let answer = Answer {
                asked_ms,
                answered_ms: asked_ms + 0.2,
                redis_us,
                lineage: server.lineage,
                confirmed: server.confirmed,
            };
            if let (Some(vouched), Some(lineage)) = (vouched, server.lineage) {
                let apart = redis_us + lineage.ahead_us - vouched;
                server.confirmed += i64::from(apart.abs() <= to_us(STEP_MS));
            }
            let heard = self.agreement.hear(&answer);
            if let Some(proposal) = &heard.proposal
                && proposal.expected == server.lineage
            {
                server.lineage = Some(proposal.lineage);
                self.agreement.written(proposal);
            }
            heard
        }

        /// What this process takes for the time is ahead of the true one by.
        fn ahead_ms(&self, at_ms: f64) -> f64 {
            let machine_ms = BEGAN_MS + at_ms + self.wrong_by_ms;
            self.wrong_by_ms + self.agreement.offset_ms(machine_ms).unwrap()
        }
    }

    /// Everybody looks once a second, one after the other. Returns what happened to them.
    fn look_on(
        server: &mut Server,
        processes: &mut [Process],
        seconds: std::ops::Range<i32>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for second in seconds {
            let mut at_ms = f64::from(second) * 1_000.0;
            for process in &mut *processes {
                events.extend(process.look(server, at_ms).event);
                at_ms += 100.0;
            }
        }
        events
    }

    fn all_say(processes: &[Process], second: i32, ahead_ms: f64) {
        for process in processes {
            let found = process.ahead_ms(f64::from(second) * 1_000.0);
            assert!((found - ahead_ms).abs() < 1.0, "{found}, not {ahead_ms}");
        }
    }

    fn three() -> [Process; 3] {
        [0.0, 3_000.0, -20.0].map(|wrong_by_ms| Process {
            wrong_by_ms,
            ..Process::default()
        })
    }

    #[test]
    fn the_time_goes_on_when_redis_is_set_and_who_starts_later_agrees() {
        for set_by_ms in [10_000.0, -10_000.0, -120_000.0, 45_000.0, 60.0, -60.0] {
            let (mut server, mut processes) = (Server::default(), three());
            assert_eq!(look_on(&mut server, &mut processes, 0..20), []);
            server.set_by_ms = set_by_ms;
            assert_eq!(look_on(&mut server, &mut processes, 20..30), []);
            all_say(&processes, 30, 0.0);
            // Twice.
            server.set_by_ms *= 2.0;
            assert_eq!(look_on(&mut server, &mut processes, 30..40), []);
            all_say(&processes, 40, 0.0);
            assert_eq!(server.lineage.unwrap().serial, 2, "once each");
            let mut late = [Process::default()];
            assert_eq!(look_on(&mut server, &mut late, 40..41), []);
            all_say(&late, 41, 0.0);
        }
    }

    #[test]
    fn who_starts_right_after_the_step_follows_the_others() {
        let (mut server, mut processes) = (Server::default(), three());
        look_on(&mut server, &mut processes, 0..20);
        server.set_by_ms = 45_000.0;
        // It has looked several times before the others say anything.
        let mut late = [Process::default()];
        look_on(&mut server, &mut late, 20..21);
        let mut events = Vec::new();
        for second in 21..40 {
            events.extend(look_on(&mut server, &mut late, second..second + 1));
            let others = look_on(&mut server, &mut processes, second..second + 1);
            assert_eq!(others, [], "{second}");
            all_say(&processes, second, 0.0);
        }
        all_say(&late, 40, 0.0);
        assert_eq!(events, [Event::OthersAgreedOtherwise]);
    }

    #[test]
    fn a_machine_that_stood_still_follows_the_others_who_hear_nothing_of_it() {
        let (mut server, mut processes) = (Server::default(), three());
        look_on(&mut server, &mut processes, 0..20);
        let before = server.lineage;
        processes[1].wrong_by_ms -= 30_000.0;
        let events = look_on(&mut server, &mut processes, 20..30);
        assert_eq!(events, [Event::WasLeftBehind]);
        all_say(&processes, 30, 0.0);
        assert_eq!(server.lineage, before);
    }

    #[test]
    fn what_was_lost_is_put_back_and_a_newcomer_gives_way() {
        let (mut server, mut processes) = (Server::default(), three());
        look_on(&mut server, &mut processes, 0..20);
        server.set_by_ms = -120_000.0;
        look_on(&mut server, &mut processes, 20..30);
        let before = server.lineage;
        server.lineage = None;
        server.confirmed = 0;
        let mut late = [Process::default()];
        look_on(&mut server, &mut late, 30..31);
        all_say(&late, 31, -120_000.0);
        assert_eq!(look_on(&mut server, &mut processes, 31..32), []);
        assert_eq!(server.lineage, before);
        let events = look_on(&mut server, &mut late, 32..33);
        assert_eq!(events, [Event::OthersAgreedOtherwise]);
        all_say(&late, 33, 0.0);
        assert_eq!(look_on(&mut server, &mut processes, 33..50), []);
        assert_eq!(look_on(&mut server, &mut late, 50..60), []);
        assert_eq!(server.lineage, before);
    }

    #[test]
    fn redis_emptied_and_set_at_once_moves_nobody() {
        let (mut server, mut processes) = (Server::default(), three());
        look_on(&mut server, &mut processes, 0..20);
        server = Server {
            set_by_ms: 3_600_000.0,
            ..Server::default()
        };
        assert_eq!(look_on(&mut server, &mut processes, 20..30), []);
        all_say(&processes, 30, 0.0);
    }

    #[test]
    fn a_small_correction_of_redis_is_followed() {
        let (mut server, mut processes) = (Server::default(), three());
        look_on(&mut server, &mut processes, 0..20);
        let before = server.lineage;
        server.set_by_ms = 15.0;
        assert_eq!(look_on(&mut server, &mut processes, 20..30), []);
        all_say(&processes, 30, 15.0);
        assert_eq!(server.lineage, before);
    }
}
