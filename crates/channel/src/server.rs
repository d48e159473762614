//! The service: bound, run, drained.

use clarion_observability::{Fields, log};
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::Stores;
use tonic::service::Routes;

use crate::Config;
use crate::grpc::Service;
use crate::keys::Keys;
use crate::slots::Membership;

/// What a channel server is given.
#[derive(Clone)]
pub struct Deps {
    /// Where everything is kept.
    pub stores: Stores,
    /// The routers: one of them says which slots to hold.
    pub routers: Vec<Address>,
}

/// A channel server that is bound and serves nothing yet.
pub struct Server {
    host: Host,
    listener: Listener,
    keys: Keys,
    membership: Membership,
}

impl Server {
    /// Binds the listener.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let listener = host.listen(&config.listen)?;
        let address = listener.advertised("channel.address", config.address.as_ref())?;
        let keys = Keys::new(host.clone(), deps.stores, config);
        let membership = Membership::new(keys.clone(), deps.routers, address);
        Ok(Self { host, listener, keys, membership })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Serves until drained: the slots are handed over, then the followers are sent away.
    pub async fn run(self) -> anyhow::Result<()> {
        log::SERVICE_LISTENING.emit(Fields::detail(self.listener.address().to_string()));
        let routes = Routes::new(Service::new(self.keys.clone()));
        let keys = self.keys;
        let member = async {
            self.membership.run().await;
            keys.streams_end().cancel();
        };
        let (served, ()) = tokio::join!(self.host.serve_grpc(self.listener, routes), member);
        served
    }
}
