//! What a service says of itself to whoever asks where it answers its peers: which program it is, whether it is ready, and
//! what its clock shows.

use std::time::{SystemTime, UNIX_EPOCH};

use clarion_proto::v1;
use clarion_proto::v1::process_server;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use crate::Host;
use crate::probe::Probes;

/// A service, as it describes itself.
pub(crate) struct Described {
    service: &'static str,
    instance: String,
    schema: Option<u32>,
    probes: Probes,
    draining: CancellationToken,
}

impl Described {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            service: host.telemetry.service(),
            instance: host.instance().to_owned(),
            schema: host.schema,
            probes: host.probes.clone(),
            draining: host.draining.clone(),
        }
    }
}

#[async_trait]
impl process_server::Process for Described {
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::Description>, Status> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let draining = self.draining.is_cancelled() || self.probes.is_shutting_down();
        Ok(Response::new(v1::Description {
            service: self.service.to_owned(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.probes.is_ready() && !draining,
            draining,
            now_us: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            schema: self.schema,
        }))
    }
}
