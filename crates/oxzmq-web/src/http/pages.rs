//! Short answers that come from the master itself.

use bytes::Bytes;
use hyper::StatusCode;

use crate::pool::Failure;

/// A small page about a status.
pub(crate) fn page(status: StatusCode, text: &str) -> Bytes {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{status}</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.5 system-ui, sans-serif; \
         max-width: 34rem; margin: 14vh auto; padding: 0 1rem }}</style>\n\
         <h1>{status}</h1>\n<p>{text}</p>\n</html>\n"
    )
    .into()
}

/// How a failure is told to a client: status, words, and after how many seconds it should try again.
pub(crate) fn failure(failure: Failure) -> (StatusCode, &'static str, Option<u32>) {
    match failure {
        Failure::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "Too many requests are waiting already.", Some(1)),
        Failure::NoWorker => (StatusCode::SERVICE_UNAVAILABLE, "No worker was free in time.", Some(5)),
        Failure::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "This server is being stopped.", Some(5)),
        Failure::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "No worker answered in time.", None),
        Failure::Broken => (StatusCode::BAD_GATEWAY, "The workers that tried to answer failed.", None),
        Failure::Quarantined => (
            StatusCode::BAD_GATEWAY,
            "This path has made several workers fail and is left alone for a while.",
            Some(30),
        ),
        Failure::Changed => {
            (StatusCode::SERVICE_UNAVAILABLE, "The file keeps changing while it is being read.", Some(1))
        }
    }
}
