//! After a run: what the channels' histories hold, page by page.

use serde::Deserialize;

use super::checker::{Entry, entry};
use super::run::Run;
use super::stamp::Stamp;

/// Messages of a page.
const PAGE: usize = 100;
/// Most pages of a channel that are read.
const PAGES: usize = 5_000;
/// How often a page is asked for.
const TRIES: u32 = 20;

#[derive(Deserialize)]
struct Message {
    id: String,
    content: String,
}

/// Reads and judges all histories; says why not, if one cannot be read.
pub(super) async fn judge(run: &Run) -> Result<(), String> {
    for channel in 0..run.workspace.channels.len() {
        let history = read(run, channel).await?;
        run.state().checker.history(channel, &history);
    }
    Ok(())
}

/// The run's messages in a channel, the oldest first.
async fn read(run: &Run, channel: usize) -> Result<Vec<Entry>, String> {
    let (mut all, mut before) = (Vec::new(), String::new());
    let oldest = run.state().checker.oldest(channel);
    for number in 0..PAGES {
        let page = page(run, channel, number, &before).await?;
        let stamps = page.iter().map(|message| Some((message.id.parse().ok()?, Stamp::read(&message.content)?)));
        let ours = stamps.flatten().filter(|(_, stamp): &(u64, Stamp)| stamp.run == run.id);
        all.extend(ours.map(|(id, stamp)| entry(id, stamp.sender, stamp.number)));
        // What is older than all that the run knows of is of no interest.
        let last = page.last().and_then(|message| message.id.parse::<u64>().ok()).unwrap_or(0);
        if page.len() < PAGE || last < oldest {
            all.reverse();
            return Ok(all);
        }
        before = page.last().map(|message| format!("&before={}", message.id)).unwrap_or_default();
    }
    Err(format!("the history of channel {channel} has more than {PAGES} pages; it was not judged"))
}

/// A page, the newest first, as one account after another sees it, so that none asks too often.
async fn page(run: &Run, channel: usize, number: usize, before: &str) -> Result<Vec<Message>, String> {
    let token = run.token_of_socket(number);
    let mut last = String::new();
    for tries in 0..TRIES {
        let messages = run.messages(run.target(number + tries as usize), channel);
        let url = format!("{messages}?limit={PAGE}{before}");
        let answer = run.http.get(&url).header("authorization", format!("Bot {token}")).send().await;
        last = match answer {
            Ok(answer) if answer.status().is_success() => {
                return answer.json().await.map_err(|error| format!("a page of history is not one: {error}"));
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    Err(format!("a page of history cannot be read: {last}"))
}
