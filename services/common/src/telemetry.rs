//! Logs, metrics and traces.

mod throttle;

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry::{
    global,
    propagation::{Extractor, Injector},
    trace::TracerProvider as _,
};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    runtime,
    trace::{SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::throttle::LogThrottle;
use crate::config::{LogFormat, Role, Settings};

/// Where the upper bounds of duration histograms lie, in seconds.
const DURATION_BUCKETS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0,
];

/// Libraries that write what they carry, tokens included, when asked to log everything.
const TALKATIVE: [&str; 5] = ["h2", "hyper", "hyper_util", "tungstenite", "rustls"];

/// The field of W3C Trace Context that names a span.
const TRACEPARENT: &str = "traceparent";

/// How long sending a batch of spans may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What ends with the process.
pub struct Telemetry {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what is left.
    pub async fn flush(self) {
        let Some(traces) = self.traces else { return };
        // It blocks on work that this runtime does.
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown()).await;
        if let Ok(Err(source)) = flushed {
            tracing::warn!(
                error = &source as &dyn std::error::Error,
                "some traces were not sent"
            );
        }
    }
}

/// Sends logs to standard error and, where an endpoint is set, traces there; starts counting.
///
/// # Errors
/// When the process has a logger or a recorder already, or the exporter cannot be made.
pub fn init(settings: &Settings) -> anyhow::Result<Telemetry> {
    let traces = settings
        .otlp_endpoint
        .as_ref()
        .map(|endpoint| exporter(endpoint, settings.role))
        .transpose()?;
    let layer = traces
        .as_ref()
        .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("tutti")));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter(&settings.rust_log)?)
        .with(layer)
        .with(lines)
        .try_init()?;
    let metrics = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)?
        .install_recorder()?;
    Ok(Telemetry { metrics, traces })
}

/// What is wanted, with those capped who would say too much.
fn filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    TALKATIVE
        .iter()
        .try_fold(EnvFilter::try_new(wanted)?, |filter, target| {
            Ok(filter.add_directive(format!("{target}=info").parse()?))
        })
}

/// What a process is called in traces.
fn service_name(role: Role) -> &'static str {
    match role {
        Role::Standalone => "tutti",
        Role::Auth => "tutti-auth",
        Role::Room => "tutti-room",
        Role::Gateway => "tutti-gateway",
    }
}

fn exporter(endpoint: &Uri, role: Role) -> anyhow::Result<SdkTracerProvider> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let endpoint = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::with_default_connector(EXPORT_TIMEOUT, None))
        .with_endpoint(endpoint)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter, runtime::Tokio).build())
        .with_resource(
            Resource::builder()
                .with_service_name(service_name(role))
                .build(),
        )
        .build())
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Makes `span` a child of the span that the request's `traceparent` (W3C Trace Context) names.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let parent =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    // An error means that nobody collects traces.
    let _ = span.set_parent(parent);
}

/// Names `span` as the parent of what the request causes elsewhere.
pub fn pass_trace_on(span: &Span, headers: &mut HeaderMap) {
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&span.context(), &mut HeadersMut(headers));
    });
}

/// `span` as a W3C `traceparent`, for what goes another way than by HTTP. Nothing where nobody collects traces.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let mut fields = HashMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&span.context(), &mut fields);
    });
    fields.remove(TRACEPARENT)
}

/// Makes `span` a child of the span that a `traceparent` names.
pub fn continue_from(span: &Span, traceparent: &str) {
    let fields = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&fields));
    // An error means that nobody collects traces.
    let _ = span.set_parent(parent);
}

#[cfg(test)]
mod tests {
    use opentelemetry::{global, trace::TracerProvider as _};
    use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{continue_from, traceparent_of};

    #[test]
    fn a_trace_goes_on_where_its_traceparent_comes_to() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let traces = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let here = tracing::info_span!("here");
            let traceparent = traceparent_of(&here).expect("traces are collected");
            let there = tracing::info_span!("there");
            continue_from(&there, &traceparent);
            let further = traceparent_of(&there).expect("traces are collected");
            let trace = |traceparent: &str| traceparent.split('-').nth(1).map(str::to_owned);
            assert_eq!(trace(&further), trace(&traceparent));
            assert_ne!(further, traceparent, "it is a span of its own");
        });
        assert_eq!(traceparent_of(&tracing::Span::none()), None);
    }
}
