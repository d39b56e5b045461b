//! Pictures of other hosts, so that no page has to ask those hosts itself.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use http::HeaderValue;
use imagesize::{Compression, ImageType};
use moka::{Expiry, future::Cache};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout},
};
use tutti_common::{
    outbound::{Outbound, OutboundError},
    shutdown::Shutdown,
};
use url::Url;

/// How large a picture may be.
const MAX_BYTES: usize = 5 * 1024 * 1024;

/// How many pixels it may have: as a page draws it, each takes four bytes of the listener's memory.
const MAX_PIXELS: usize = 50_000_000;

/// How long everything may take, from the first look-up to the last byte.
const FETCH_TIME: Duration = Duration::from_secs(5);

/// How many pictures are fetched at once. With what is kept, they take 144 MiB of memory at most.
const AT_ONCE: usize = 16;

/// How long a picture waits for others to be fetched.
const WAIT_TIME: Duration = Duration::from_secs(2);

/// How much is kept.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// What is kept of an address beside its picture, roughly.
const ENTRY_BYTES: usize = 1024;

/// How long a picture is kept.
pub(crate) const KEPT_FOR: Duration = Duration::from_hours(1);

/// How long it is remembered that there is none, so that a room full of listeners asks once.
const FAILURE_KEPT_FOR: Duration = Duration::from_secs(30);

/// What is asked for, as hosts that have several forms of a picture want to know.
const ACCEPT: HeaderValue =
    HeaderValue::from_static("image/avif,image/webp,image/png,image/jpeg,image/gif");

/// A picture, whose kind is what its bytes say.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Bytes,
}

/// Why there is no picture.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("is not a JPEG, PNG, WebP, GIF or AVIF picture")]
    NotAnImage,
    #[error("has more than {} million pixels", MAX_PIXELS / 1_000_000)]
    TooManyPixels,
    /// Too many others are being fetched, or this gateway is ending.
    #[error("no picture can be fetched at the moment; try again")]
    Busy,
}

/// Fetches pictures, each once for all who want it at the same time, and keeps some.
pub(crate) struct Images {
    outbound: Outbound,
    shutdown: Shutdown,
    kept: Cache<Url, Result<Image, ImageError>>,
    permits: Arc<Semaphore>,
}

struct KeptFor;

impl Expiry<Url, Result<Image, ImageError>> for KeptFor {
    fn expire_after_create(
        &self,
        _: &Url,
        image: &Result<Image, ImageError>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(match image {
            Ok(_) => KEPT_FOR,
            // Not for long.
            Err(ImageError::Busy) => Duration::ZERO,
            Err(_) => FAILURE_KEPT_FOR,
        })
    }
}

impl Images {
    pub(crate) fn new(outbound: Outbound, shutdown: Shutdown) -> Self {
        let kept = Cache::builder()
            .max_capacity(KEPT_BYTES)
            .weigher(|url: &Url, image: &Result<Image, ImageError>| {
                let bytes = image.as_ref().map_or(0, |image| image.bytes.len());
                u32::try_from(bytes + url.as_str().len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .expire_after(KeptFor)
            .build();
        Self {
            outbound,
            shutdown,
            kept,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// What is known of the picture there, without asking for it.
    pub(crate) async fn known(&self, url: &Url) -> Option<Result<Image, ImageError>> {
        self.kept.get(url).await
    }

    /// The picture that is there.
    pub(crate) async fn get(&self, url: Url) -> Result<Image, ImageError> {
        let (outbound, permits, kept) = (
            self.outbound.clone(),
            self.permits.clone(),
            self.kept.clone(),
        );
        let (tell, told) = oneshot::channel();
        let ending = self.shutdown.clone();
        // In a task of its own: whoever asked first may leave, and the others wait for the same picture.
        self.shutdown.spawn(async move {
            let image = tokio::select! {
                image = kept.get_with_by_ref(&url, fetch(&outbound, &permits, &url)) => image,
                () = ending.ending() => Err(ImageError::Busy),
            };
            // An error means that whoever asked has left.
            let _ = tell.send(image);
        });
        told.await.unwrap_or(Err(ImageError::Busy))
    }
}

async fn fetch(outbound: &Outbound, permits: &Semaphore, url: &Url) -> Result<Image, ImageError> {
    let deadline = Instant::now() + FETCH_TIME;
    let Ok(Ok(_permit)) = timeout(WAIT_TIME, permits.acquire()).await else {
        return Err(ImageError::Busy);
    };
    let bytes = outbound.get(url, &ACCEPT, MAX_BYTES, deadline).await?;
    identify(bytes)
}

/// The picture that these bytes are.
fn identify(bytes: Bytes) -> Result<Image, ImageError> {
    let kind = imagesize::image_type(&bytes).map_err(|_| ImageError::NotAnImage)?;
    let media_type = match kind {
        ImageType::Jpeg => "image/jpeg",
        ImageType::Png => "image/png",
        ImageType::Webp => "image/webp",
        ImageType::Gif => "image/gif",
        ImageType::Heif(Compression::Av1) => "image/avif",
        _ => return Err(ImageError::NotAnImage),
    };
    let size = imagesize::blob_size(&bytes).map_err(|_| ImageError::NotAnImage)?;
    if size.width.saturating_mul(size.height) > MAX_PIXELS {
        return Err(ImageError::TooManyPixels);
    }
    Ok(Image { media_type, bytes })
}
