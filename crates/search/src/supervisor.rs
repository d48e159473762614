//! Has one index serve, always: opens it, builds it anew when it is lost, and builds another beside it when an operator
//! asks.

use std::sync::Arc;
use std::time::Duration;

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{IndexError as Counted, SearchMetrics};
use clarion_runtime::Host;
use clarion_storage::Stores;
use clarion_storage::index::{Index, IndexError, Indexes};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::failure::counted;
use crate::indexer::{End, Indexer};
use crate::standing::{Serving, Standing};

const RETRY: Duration = Duration::from_secs(1);

/// Keeps an index serving.
pub(crate) struct Supervisor {
    pub(crate) host: Host,
    pub(crate) stores: Stores,
    pub(crate) indexes: Arc<dyn Indexes>,
    pub(crate) config: Config,
    pub(crate) metrics: SearchMetrics,
    /// The index that answers.
    pub(crate) serving: Serving,
    /// The one that is being built beside it.
    pub(crate) building: Serving,
    /// Operators who ask for one.
    pub(crate) rebuild: mpsc::Receiver<()>,
}

/// An indexer at work.
struct Working {
    stop: CancellationToken,
    end: oneshot::Receiver<End>,
    index: Arc<dyn Index>,
    standing: Standing,
}

impl Supervisor {
    pub(crate) async fn run(mut self) {
        let draining = self.host.draining();
        let (mut after_loss, mut failing) = (false, false);
        while !draining.is_cancelled() {
            match self.open(after_loss).await {
                Ok(index) => {
                    if std::mem::replace(&mut failing, false) {
                        log::INDEX_RECOVERED.emit(Fields::default());
                    }
                    let working = self.start(index, false);
                    self.serving.set(Some((working.index.clone(), working.standing.clone())));
                    self.supervise(working).await;
                    self.serving.set(None);
                    self.building.set(None);
                    after_loss = true;
                }
                Err(error) => {
                    self.metrics.errors.with(counted(&error)).increment(1);
                    // Once, however often it is tried.
                    if !std::mem::replace(&mut failing, true) {
                        log::INDEX_FAILED.emit(Fields::error(error.error_type(), &error));
                    }
                    after_loss = matches!(error, IndexError::Lost(_));
                    let _ = draining.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                }
            }
        }
    }

    /// The index there is, or a new one, which serves at once: for each guild as soon as its history is in it.
    async fn open(&self, after_loss: bool) -> Result<Arc<dyn Index>, IndexError> {
        let found = if after_loss { Ok(None) } else { self.indexes.current().await };
        match found {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {}
            Err(IndexError::Lost(why)) => {
                self.metrics.errors.with(Counted::Lost).increment(1);
                log::INDEX_FAILED.emit(Fields::detail(why));
            }
            Err(error) => return Err(error),
        }
        let index = self.indexes.create().await?;
        self.indexes.promote().await?;
        self.metrics.rebuilds.increment(1);
        log::INDEX_BUILDING.emit(Fields::default());
        Ok(index)
    }

    /// Until the index is lost or the service drains. No indexer is at work afterwards.
    async fn supervise(&mut self, mut current: Working) {
        let draining = self.host.draining();
        let mut next: Option<Working> = None;
        loop {
            tokio::select! {
                end = &mut current.end => {
                    if let Ok(End::Lost(why)) = end {
                        log::INDEX_FAILED.emit(Fields::detail(why));
                    }
                    return stop(next).await;
                }
                Some(()) = self.rebuild.recv(), if next.is_none() => match self.indexes.create().await {
                    Ok(index) => {
                        self.metrics.rebuilds.increment(1);
                        log::INDEX_BUILDING.emit(Fields::detail("beside the one that serves"));
                        let working = self.start(index, true);
                        self.building.set(Some((working.index.clone(), working.standing.clone())));
                        next = Some(working);
                    }
                    Err(error) => log::INDEX_FAILED.emit(Fields::error(error.error_type(), &error)),
                },
                end = ended(&mut next) => {
                    let built = next.take();
                    self.building.set(None);
                    if let (Some(built), End::Complete) = (built, end)
                        && let Some(working) = self.take_over(&mut current, built).await
                    {
                        current = working;
                    }
                }
                () = draining.cancelled() => {
                    stop(next).await;
                    return stop(Some(current)).await;
                }
            }
        }
    }

    /// The index that was built serves from now on.
    async fn take_over(&self, current: &mut Working, built: Working) -> Option<Working> {
        if let Err(error) = self.indexes.promote().await {
            log::INDEX_FAILED.emit(Fields::error(error.error_type(), &error));
            return None;
        }
        let working = self.start_over(built.index, built.standing);
        self.serving.set(Some((working.index.clone(), working.standing.clone())));
        log::INDEX_READY.emit(Fields::default());
        current.stop.cancel();
        // Its own folder is gone: whatever it ends with is right.
        let _ = (&mut current.end).await;
        Some(working)
    }

    fn start(&self, index: Arc<dyn Index>, until_complete: bool) -> Working {
        self.begin(index, Standing::default(), until_complete)
    }

    fn start_over(&self, index: Arc<dyn Index>, standing: Standing) -> Working {
        self.begin(index, standing, false)
    }

    fn begin(&self, index: Arc<dyn Index>, standing: Standing, until_complete: bool) -> Working {
        let (stop, (tell, end)) = (CancellationToken::new(), oneshot::channel());
        let (stores, config, metrics) = (self.stores.clone(), self.config.clone(), self.metrics.clone());
        let indexer = Indexer::new(stores, index.clone(), standing.clone(), config, metrics);
        let until = stop.clone();
        self.host.spawn("indexer", async move {
            let _ = tell.send(indexer.run(until, until_complete).await);
        });
        Working { stop, end, index, standing }
    }
}

async fn stop(working: Option<Working>) {
    if let Some(working) = working {
        working.stop.cancel();
        let _ = working.end.await;
    }
}

/// How the indexer of the new index ended; never if there is none.
async fn ended(next: &mut Option<Working>) -> End {
    match next {
        Some(working) => (&mut working.end).await.unwrap_or(End::Stopped),
        None => std::future::pending().await,
    }
}
