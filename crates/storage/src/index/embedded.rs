//! The index inside the process: tantivy on the local disk.
//!
//! A folder has one index a generation, and a file that says which one serves. How far a key has got is a document of the
//! index like any other, so it changes in the same commit as what it speaks of.

mod schema;
mod search;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod write;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyError};

use schema::Fields;

use super::{Config, Index, IndexError, Indexes};

/// The version of everything in `schema.rs` and `text.rs`. Another one's index is built anew.
const VERSION: u32 = 1;

/// The file that names the generation that serves.
const CURRENT: &str = "current";

/// A segment with so many of its messages deleted is rewritten.
const DELETED_SHARE: f32 = 0.3;

/// A folder of indexes.
#[derive(Debug, Clone)]
pub struct Folder {
    config: Config,
}

/// An open index.
struct Embedded {
    reader: IndexReader,
    fields: Fields,
    /// Held while something is written.
    writer: Arc<Mutex<IndexWriter>>,
    path: PathBuf,
    min_free: u64,
}

impl Folder {
    /// The folder that the settings name. Nothing is opened yet.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// The generation that serves, if it is of this version.
    fn serving(&self) -> Result<Option<PathBuf>, IndexError> {
        match fs::read_to_string(self.config.path.join(CURRENT)) {
            Ok(name) => {
                let known = generation(name.trim()).is_some();
                Ok(known.then(|| self.config.path.join(name.trim())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The generations that there are, the oldest first.
    fn generations(&self) -> Result<Vec<(u64, PathBuf)>, IndexError> {
        let entries = match fs::read_dir(&self.config.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unavailable(&error)),
        };
        let named = |entry: fs::DirEntry| Some((generation(entry.file_name().to_str()?)?, entry.path()));
        let mut found: Vec<_> = entries.flatten().filter_map(named).collect();
        found.sort();
        Ok(found)
    }

    /// Removes every generation but one, those of other versions too.
    fn sweep(&self, keep: Option<&Path>) -> std::io::Result<()> {
        let Ok(entries) = fs::read_dir(&self.config.path) else { return Ok(()) };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_generation = entry.file_name().to_str().is_some_and(|name| name.starts_with('v') && path.is_dir());
            if is_generation && keep != Some(&path) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    fn open_current(&self) -> Result<Option<Embedded>, IndexError> {
        let Some(path) = self.serving()? else { return Ok(None) };
        Embedded::open(&path, &self.config).map(Some)
    }

    fn make(&self) -> Result<Embedded, IndexError> {
        let serving = self.serving()?;
        fs::create_dir_all(&self.config.path).map_err(|error| unavailable(&error))?;
        // Never a number that was there before, also when the folder was deleted: who lost it may still write there.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64);
        let next = self.generations()?.last().map_or(now, |(number, _)| now.max(number + 1));
        self.sweep(serving.as_deref()).map_err(|error| unavailable(&error))?;
        let path = self.config.path.join(format!("v{VERSION}-{next}"));
        fs::create_dir(&path).map_err(|error| unavailable(&error))?;
        Embedded::create(&path, &self.config)
    }

    fn serve_newest(&self) -> Result<(), IndexError> {
        let newest = self.generations()?.pop().ok_or_else(|| IndexError::Lost("its folder is gone".into()))?.1;
        let name = newest.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let beside = self.config.path.join("current.new");
        let replaced = (|| {
            let mut file = File::create(&beside)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            fs::rename(&beside, self.config.path.join(CURRENT))?;
            File::open(&self.config.path)?.sync_all()?;
            // Who still reads the old one has it open.
            self.sweep(Some(&newest))
        })();
        replaced.map_err(|error| unavailable(&error))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let folder = self.clone();
        blocking(move || work(&folder)).await
    }
}

#[async_trait::async_trait]
impl Indexes for Folder {
    async fn current(&self) -> Result<Option<Arc<dyn Index>>, IndexError> {
        let opened = self.blocking(Self::open_current).await?;
        Ok(opened.map(|index| Arc::new(index) as _))
    }

    async fn create(&self) -> Result<Arc<dyn Index>, IndexError> {
        Ok(Arc::new(self.blocking(Self::make).await?))
    }

    async fn promote(&self) -> Result<(), IndexError> {
        self.blocking(Self::serve_newest).await
    }
}

impl Embedded {
    fn create(path: &Path, config: &Config) -> Result<Self, IndexError> {
        let (schema, _) = schema::schema();
        let index = tantivy::Index::create_in_dir(path, schema).map_err(failed)?;
        Self::over(index, path, config)
    }

    fn open(path: &Path, config: &Config) -> Result<Self, IndexError> {
        let lost = |error: TantivyError| IndexError::Lost(error.to_string());
        let index = tantivy::Index::open_in_dir(path).map_err(lost)?;
        if index.schema() != schema::schema().0 {
            return Err(IndexError::Lost("it has another schema".into()));
        }
        let damaged = index.validate_checksum().map_err(lost)?;
        if !damaged.is_empty() {
            return Err(IndexError::Lost(format!("{} damaged files", damaged.len())));
        }
        Self::over(index, path, config)
    }

    fn over(index: tantivy::Index, path: &Path, config: &Config) -> Result<Self, IndexError> {
        index.tokenizers().register(schema::ANALYZER, schema::Analyzer::default());
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(config.memory_bytes.max(15_000_000))
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter = index.writer_with_options(options).map_err(failed)?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
        writer.set_merge_policy(Box::new(policy));
        write::begin(&writer).map_err(failed)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        let (_, fields) = schema::schema();
        let (path, writer) = (path.to_path_buf(), Arc::new(Mutex::new(writer)));
        Ok(Self { reader, fields, writer, path, min_free: config.min_free })
    }

    /// Whether its files are where they were.
    fn look(path: &Path) -> Result<(), IndexError> {
        match fs::metadata(path.join("meta.json")) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(IndexError::Lost("its folder is gone".into()))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The room left on its disk. Nobody can say: then the write itself will.
    fn has_room(path: &Path, min_free: u64) -> bool {
        rustix::fs::statvfs(path).map_or(true, |fs| fs.f_bavail.saturating_mul(fs.f_frsize) >= min_free)
    }

    fn bytes(path: &Path) -> u64 {
        let Ok(entries) = fs::read_dir(path) else { return 0 };
        entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    }
}

/// The number in the name of a generation of this version.
fn generation(name: &str) -> Option<u64> {
    name.strip_prefix(&format!("v{VERSION}-"))?.parse().ok()
}

/// Runs work that blocks where it does no harm. A panic in it is the index's fault, and no reason to end the process.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(IndexError::Lost(format!("panicked: {error}"))))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: &std::io::Error) -> IndexError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return IndexError::Full(error.to_string());
    }
    IndexError::Unavailable(error.to_string())
}

fn failed(error: TantivyError) -> IndexError {
    match error {
        TantivyError::IoError(error) => unavailable(&error),
        TantivyError::DataCorruption(damage) => IndexError::Lost(format!("{damage:?}")),
        TantivyError::InvalidArgument(what) => IndexError::Invalid(what),
        other => IndexError::Unavailable(other.to_string()),
    }
}
