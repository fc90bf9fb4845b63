//! The side door for those who run the server: an address of its own, to be reached by them alone.
//!
//! | path | what |
//! |---|---|
//! | `/` | the status page, which keeps itself up to date |
//! | `/status.json` | what it shows |
//! | `/metrics` | the same for Prometheus |
//! | `/healthz` | 200 as long as the master works |
//! | `/readyz` | 200 if there is a worker and the master is not stopping, else 503 |

mod metrics;
mod status;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::dispatch::Handle;
use crate::stats::Stats;

/// Most connections at a time; few are needed.
const CONNECTIONS: usize = 64;
/// Longest life of a connection; whoever looks longer connects again.
const LIFE: Duration = Duration::from_secs(60);

const PAGE: &str = include_str!("page.html");
const JSON: &str = "application/json";
/// The page is in one piece: nothing else may be loaded, and nobody may frame it.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

/// What is looked at.
pub(crate) struct View {
    pub(crate) handle: Handle,
    pub(crate) stats: Arc<Stats>,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, view: Arc<View>) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { std::future::pending().await };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let view = Arc::clone(&view);
        let service = service_fn(move |request| {
            let view = Arc::clone(&view);
            async move { Ok::<_, Infallible>(answer(&view, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LIFE, connection).await;
            drop(place);
        });
    }
}

async fn answer<B>(view: &View, request: &Request<B>) -> Response<Text> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "There is something to see, and nothing to do.\n".into(),
        );
    }
    let path = request.uri().path();
    if path == "/" {
        return text(StatusCode::OK, "text/html; charset=utf-8", PAGE.into());
    }
    let known = ["/status.json", "/metrics", "/healthz", "/readyz"].contains(&path);
    let snapshot = if known { view.handle.look().await } else { None };
    let Some(snapshot) = snapshot else {
        return if known {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the dispatcher has ended\n".into())
        } else {
            text(StatusCode::NOT_FOUND, "text/plain", "/ /status.json /metrics /healthz /readyz\n".into())
        };
    };
    match path {
        "/status.json" => text(StatusCode::OK, JSON, status::json(&view.stats, &snapshot)),
        "/metrics" => text(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(&view.stats, &snapshot)),
        "/readyz" if snapshot.stopping => text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "stopping\n".into()),
        "/readyz" if snapshot.workers.is_empty() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no worker\n".into())
        }
        _ => text(StatusCode::OK, "text/plain", "ok\n".into()),
    }
}

fn text(status: StatusCode, kind: &'static str, content: String) -> Response<Text> {
    let mut response = Response::new(Text(Some(content.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// A body in one piece.
struct Text(Option<Bytes>);

impl hyper::body::Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |text| text.len() as u64))
    }
}
