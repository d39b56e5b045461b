//! Logs and metrics.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{LogFormat, Settings};

/// Where the upper bounds of duration histograms lie, in seconds.
const DURATION_BUCKETS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0,
];

/// Sends logs to standard error and starts counting. Returns what renders the metrics.
///
/// # Errors
/// When the process already has a logger or a recorder.
pub fn init(settings: &Settings) -> anyhow::Result<PrometheusHandle> {
    let registry = tracing_subscriber::registry().with(EnvFilter::new(&settings.rust_log));
    let lines = fmt::layer().with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)?
        .install_recorder()?;
    Ok(handle)
}
