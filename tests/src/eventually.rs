//! Waiting for what converges.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Runs `attempt` again and again until it is `Ok`, and returns that. An attempt still running at the deadline is dropped.
///
/// Let the error say what was found instead of what was wanted: the last one is what the failure shows.
///
/// # Panics
/// At the deadline, at the caller's line, with the last error.
#[track_caller]
pub fn eventually<T, E, A, F>(deadline: Duration, mut attempt: A) -> impl Future<Output = T>
where
    E: Display,
    A: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
{
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut last = None;
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0_u32;
        loop {
            attempts += 1;
            match timeout_at(end, attempt()).await {
                Ok(Ok(value)) => return value,
                Ok(Err(error)) => last = Some(format!("{error:#}")),
                Err(_) => last = last.or_else(|| Some("no attempt came to an end".to_owned())),
            }
            if Instant::now() + pause >= end {
                panic!(
                    "{caller}: still not so after {attempts} attempts in {deadline:?}; at last: {}",
                    last.unwrap_or_default()
                );
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_success_is_returned() {
        let mut attempts = 0;
        let value = eventually(Duration::from_secs(60), || {
            attempts += 1;
            let attempt = attempts;
            async move {
                if attempt == 3 {
                    Ok(attempt)
                } else {
                    Err("not yet")
                }
            }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "at last: two of three")]
    async fn the_failure_shows_the_last_error() {
        eventually(Duration::from_millis(50), || async {
            Err::<(), _>("two of three")
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "no attempt came to an end")]
    async fn an_attempt_that_hangs_ends_at_the_deadline() {
        eventually(
            Duration::from_millis(50),
            std::future::pending::<Result<(), String>>,
        )
        .await;
    }
}
