//! Which observations of which sidecar process have been taken in.

use std::collections::VecDeque;

/// Sidecar processes remembered. There is one at a time; a second one overlaps with it while a
/// pod is replaced, and one that crashes in a loop must not push the others out at once.
const REMEMBERED: usize = 8;

/// Bytes of a session's name that are compared; a longer one is refused.
pub(super) const MAX_SESSION: usize = 128;

/// The last sequence taken in, by session; the least recently active session goes first.
///
/// A sidecar sends in ascending order, and begins a new stream with the oldest observation that
/// it has no acknowledgement for. So everything up to the highest sequence that was taken in
/// either was taken in too, or was given up by the sidecar (its outbox is bounded).
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Most recently active last.
    sessions: VecDeque<(String, u64)>,
}

impl Sessions {
    /// Claims a sequence: whether it is new, to be called before it is stored.
    pub(super) fn claim(&mut self, session: &str, sequence: u64) -> bool {
        let highest = self.touch(session);
        let new = sequence > *highest;
        if new {
            *highest = sequence;
        }
        new
    }

    /// The highest sequence taken in.
    pub(super) fn highest(&mut self, session: &str) -> u64 {
        *self.touch(session)
    }

    fn touch(&mut self, session: &str) -> &mut u64 {
        let at = self.sessions.iter().position(|(name, _)| name == session);
        let entry = at
            .and_then(|at| self.sessions.remove(at))
            .unwrap_or_else(|| (session.to_owned(), 0));
        if self.sessions.len() >= REMEMBERED {
            self.sessions.pop_front();
        }
        self.sessions.push_back(entry);
        let last = self.sessions.len() - 1;
        &mut self.sessions[last].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_new_once_and_gaps_are_given_up() {
        let mut sessions = Sessions::default();
        assert!(sessions.claim("a", 1));
        assert!(!sessions.claim("a", 1));
        assert!(sessions.claim("a", 5));
        assert!(!sessions.claim("a", 3));
        assert!(sessions.claim("b", 3));
        assert_eq!((sessions.highest("a"), sessions.highest("b")), (5, 3));
    }

    #[test]
    fn the_least_recently_active_session_is_forgotten() {
        let mut sessions = Sessions::default();
        for session in 0..REMEMBERED {
            sessions.claim(&session.to_string(), 7);
        }
        sessions.highest("0");
        sessions.claim("new", 1);
        assert_eq!(sessions.sessions.len(), REMEMBERED);
        assert_eq!((sessions.highest("0"), sessions.highest("1")), (7, 0));
    }
}
