//! Reading a body without letting anybody use up memory or time.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Largest body in bytes. The apiserver takes objects of up to 3 MiB (its limit for a request
/// body; etcd's is 1.5 MiB), and a review of an update holds two of them and some hundred bytes
/// more. 8 MiB leaves room for what JSON escapes take.
pub const MAX_BODY: usize = 8 << 20;

/// Bodies up to this size are read without asking; they are bounded by the number of requests.
const SMALL_BODY: usize = 64 << 10;

/// Memory for the larger bodies that are in at a time, in KiB: four of the largest.
const LARGE_BODIES_KIB: usize = 4 * MAX_BODY / 1024;

/// Time to wait for that memory. The apiserver gives up on us after 1 s.
const WAIT: Duration = Duration::from_millis(500);

/// Time for a whole body to arrive. The apiserver would have given up long before.
const READ: Duration = Duration::from_secs(5);

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body took longer than {READ:?}")]
    TooSlow,
    #[error("too many large bodies at a time")]
    Busy,
    #[error("the body broke off")]
    Broken,
}

/// The memory that bodies may take.
#[derive(Debug)]
pub(super) struct Bodies {
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            large: Arc::new(Semaphore::new(LARGE_BODIES_KIB)),
        }
    }
}

/// A whole body, and the share of memory that it holds.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// The body in one piece; not copied where it comes in one piece, else copied once.
    pub(super) async fn read<B>(&self, body: B) -> Result<Received, BodyError>
    where
        B: Body<Data = Bytes>,
    {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        let memory = if announced > SMALL_BODY {
            Some(self.reserve(announced).await?)
        } else {
            None
        };
        timeout(READ, self.collect(body, announced, memory))
            .await
            .map_err(|_| BodyError::TooSlow)?
    }

    async fn collect<B>(
        &self,
        body: B,
        announced: usize,
        mut memory: Option<OwnedSemaphorePermit>,
    ) -> Result<Received, BodyError>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let mut whole = Whole::Empty;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
                continue;
            };
            let length = whole.len() + data.len();
            if length > MAX_BODY {
                return Err(BodyError::TooLarge);
            }
            // Only a body of unannounced length (chunked, or HTTP/2 without a content-length)
            // gets here without having reserved.
            if length > SMALL_BODY && memory.is_none() {
                memory = Some(self.reserve(MAX_BODY).await?);
            }
            whole = whole.append(data, announced);
        }
        Ok(Received {
            bytes: whole.into_bytes(),
            _memory: memory,
        })
    }

    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).map_err(|_| BodyError::TooLarge)?;
        timeout(WAIT, Arc::clone(&self.large).acquire_many_owned(kib))
            .await
            .map_err(|_| BodyError::Busy)?
            .map_err(|_| BodyError::Busy)
    }
}

/// What has arrived so far.
enum Whole {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn append(self, data: Bytes, announced: usize) -> Self {
        let mut bytes = match self {
            Self::Empty => return Self::One(data),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity(announced.max(first.len() + data.len()));
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Many(bytes) => bytes,
        };
        bytes.extend_from_slice(&data);
        Self::Many(bytes)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}
