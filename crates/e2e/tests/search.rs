//! Messages are found by what they say, soon after they were said, by those who may read them now, and by nobody else.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clarion_e2e::{Api, Cluster, PATIENCE};
use clarion_model::id::UserId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const VIEW_CHANNEL: u64 = 1 << 10;
const READ_MESSAGE_HISTORY: u64 = 1 << 16;

/// One answer to a search.
async fn search(api: &Api, guild: impl std::fmt::Display, query: &str) -> anyhow::Result<(StatusCode, Value)> {
    api.call(Method::GET, &format!("/guilds/{guild}/messages/search?{query}"), None).await
}

/// The contents that a search finds, as soon as they are as wanted.
async fn until(
    api: &Api,
    guild: impl std::fmt::Display + Copy,
    query: &str,
    wanted: impl Fn(&[String]) -> bool,
) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = search(api, guild, query).await?;
        let found = contents(&body);
        if status == StatusCode::OK && wanted(&found) {
            assert_eq!(body["total_results"].as_u64(), Some(found.len() as u64), "{body}");
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{query}: {status}: {body}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What was found, sorted.
fn contents(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all: Vec<String> = messages.iter().filter_map(|m| Some(m[0]["content"].as_str()?.to_owned())).collect();
    all.sort();
    all
}

async fn found(api: &Api, guild: impl std::fmt::Display + Copy, query: &str, expected: &[&str]) -> anyhow::Result<()> {
    until(api, guild, query, |found| found == expected).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_found_edited_and_gone() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (guild, channel) = (cluster.demo().guild_id, cluster.demo().channel_id);
    let (api, other) = (cluster.api(cluster.bot(), 0), cluster.api(cluster.other_bot(), 0));
    let sent = api.send(channel, "the quokka smiles at https://example.com/q").await?;
    let reply = json!({ "content": "a reply to it", "message_reference": { "message_id": sent["id"] } });
    let path = format!("/channels/{channel}/messages");
    assert_eq!(other.call(Method::POST, &path, Some(reply)).await?.0, StatusCode::OK);
    other.send(channel, "東京で猫を見た").await?;

    let quokka = ["the quokka smiles at https://example.com/q"];
    found(&api, guild, "content=quokka", &quokka).await?;
    found(&api, guild, "content=quoka%20", &quokka).await?;
    found(&api, guild, "content=%22smiles+at%22", &quokka).await?;
    found(&api, guild, "has=link", &quokka).await?;
    found(&api, guild, "link_hostname=example.com", &quokka).await?;
    found(&api, guild, &format!("author_id={}", cluster.bot().id), &quokka).await?;
    found(&api, guild, &format!("replied_to_user_id={}", cluster.bot().id), &["a reply to it"]).await?;
    found(&api, guild, "content=%E7%8C%AB", &["東京で猫を見た"]).await?;
    found(&api, guild, "pinned=true", &[]).await?;
    let (_, body) = search(&api, guild, "sort_order=asc&limit=1").await?;
    assert_eq!((&body["messages"][0][0]["id"], &body["total_results"]), (&sent["id"], &json!(3)));
    assert_eq!(body["messages"][0][0]["hit"], true);

    let id = sent["id"].as_str().context("an id")?;
    let edited = json!({ "content": "the wombat digs" });
    assert_eq!(api.call(Method::PATCH, &format!("{path}/{id}"), Some(edited)).await?.0, StatusCode::OK);
    found(&api, guild, "content=wombat", &["the wombat digs"]).await?;
    found(&api, guild, "content=quokka", &[]).await?;
    found(&api, guild, "has=link", &[]).await?;
    assert_eq!(api.call(Method::DELETE, &format!("{path}/{id}"), None).await?.0, StatusCode::NO_CONTENT);
    // What went is not shown from the moment on, whether the index knows or not.
    let (_, body) = search(&api, guild, "content=wombat").await?;
    assert_eq!((contents(&body), &body["total_results"]), (Vec::new(), &json!(0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_and_its_indexing_are_linked_and_a_query_tells_no_text() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (guild, channel) = (cluster.demo().guild_id, cluster.demo().channel_id);
    let api = cluster.api(cluster.bot(), 0);
    let body = json!({ "content": "zebrafish swim" });
    let answer = api.request(Method::POST, &format!("/channels/{channel}/messages")).json(&body).send().await?;
    let trace = answer.headers()["x-trace-id"].to_str()?.to_owned();
    found(&api, guild, "content=zebrafish", &["zebrafish swim"]).await?;
    let spans = cluster.capture().wait_for(|spans| {
        let linked = |s: &clarion_observability::recent::SpanRecord| s.links.iter().any(|id| id.to_string() == trace);
        spans.iter().any(|s| s.name == "search.index" && linked(s)) && spans.iter().any(|s| s.name == "search.query")
    });
    let spans = spans.await?;
    let query = spans.iter().rfind(|s| s.name == "search.query").context("a query")?;
    assert_eq!(query.attribute("query").as_deref(), Some("channels=3 terms=1"));
    assert_eq!(query.attribute("result_count").as_deref(), Some("1"));
    assert!(query.parent_id.is_some(), "a query is a part of the request's trace");
    let said = format!("{spans:?} {:?}", cluster.capture().lines());
    assert!(!said.contains("zebrafish"), "what is looked for, or said, is not told");
    // The page of the send's trace leads to the one that indexed it.
    let page = reqwest::get(format!("{}/debug/traces/{trace}", cluster.admin_url())).await?.text().await?;
    assert!(page.contains("Linked from"), "{page}");
    let metrics = reqwest::get(format!("{}/metrics", cluster.admin_url())).await?.text().await?;
    for name in ["search_index_latency_seconds_count", "search_query_total", "search_index_lag_seconds"] {
        assert!(metrics.contains(name), "{name}");
    }
    Ok(())
}

/// The cases of who finds what, each after one more change.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_one_may_read_now_is_found() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let demo = cluster.demo().clone();
    let (guild, open, closed) = (demo.guild_id, demo.channel_id, demo.second_channel_id);
    let bot = cluster.api(cluster.bot(), 0);
    let grace = cluster.api(&demo.users[1], 0);
    bot.send(open, "needle in the open").await?;
    bot.send(closed, "needle in the closed").await?;
    let (both, only_open) = (["needle in the closed", "needle in the open"], ["needle in the open"]);
    let only_closed = ["needle in the closed"];
    found(&bot, guild, "content=needle", &both).await?;
    found(&grace, guild, "content=needle", &both).await?;

    let put = async |channel, target: String, kind: u8, allow: u64, deny: u64| {
        let body = json!({ "type": kind, "allow": allow.to_string(), "deny": deny.to_string() });
        let path = format!("/channels/{channel}/permissions/{target}");
        let (status, body) = bot.call(Method::PUT, &path, Some(body)).await?;
        anyhow::ensure!(status == StatusCode::NO_CONTENT, "{status}: {body}");
        Ok(())
    };
    let everyone = guild.to_string();
    let grace_id = demo.users[1].id.to_string();
    // At once: no waiting, for it does not depend on the index. Every way to ask says the same.
    let sees = async |expected: &[&str], after: &str| {
        let (status, body) = search(&grace, guild, "content=needle").await?;
        anyhow::ensure!(status == StatusCode::OK && contents(&body) == expected, "{after}: {status} {body}");
        anyhow::ensure!(body["total_results"] == expected.len(), "{after}: {body}");
        for (channel, word) in [(open, "open"), (closed, "closed")] {
            let shown = expected.iter().filter(|content| content.ends_with(word)).count();
            for query in
                [format!("channel_id={channel}"), format!("content=needle&channel_id={channel}&sort_by=relevance")]
            {
                let (status, body) = search(&grace, guild, &query).await?;
                anyhow::ensure!(status == StatusCode::OK && body["total_results"] == shown, "{after}: {query}: {body}");
            }
        }
        let (_, bots) = search(&bot, guild, "content=needle").await?;
        anyhow::ensure!(contents(&bots) == both, "{after}: administrators find everything: {bots}");
        Ok(())
    };
    sees(&both, "at first").await?;
    put(closed, everyone.clone(), 0, 0, VIEW_CHANNEL).await?;
    sees(&only_open, "everyone may not view").await?;

    // Nothing that happens in there shows: the whole answer is the same as before, byte by byte.
    let queries =
        ["content=needle", "content=needle&sort_by=relevance", "content=flood", "content=nedle", "has=link", "limit=1"];
    let mut before = Vec::new();
    for query in queries {
        before.push(search(&grace, guild, query).await?);
    }
    for n in 0..50 {
        bot.send(closed, &format!("needle flood {n} https://example.com")).await?;
    }
    wait_for_total(&bot, guild, "content=flood", 50).await?;
    for (query, before) in queries.iter().zip(before) {
        assert_eq!(search(&grace, guild, query).await?, before, "{query}");
    }
    let path = format!("/channels/{closed}/messages");
    let flood = bot.get(&format!("{path}?limit=50")).await?;
    for message in flood.as_array().context("messages")? {
        let id = message["id"].as_str().context("an id")?;
        bot.call(Method::DELETE, &format!("{path}/{id}"), None).await?;
    }
    found(&bot, guild, "content=needle", &both).await?;

    put(closed, grace_id.clone(), 1, VIEW_CHANNEL, 0).await?;
    sees(&both, "she herself may").await?;
    put(open, everyone.clone(), 0, 0, READ_MESSAGE_HISTORY).await?;
    sees(&only_closed, "everyone may view but not read history").await?;
    bot.call(Method::DELETE, &format!("/channels/{open}/permissions/{everyone}"), None).await?;
    bot.call(Method::DELETE, &format!("/channels/{closed}/permissions/{grace_id}"), None).await?;
    sees(&only_open, "back again").await?;

    let (_, role) =
        bot.call(Method::POST, &format!("/guilds/{guild}/roles"), Some(json!({ "name": "insiders" }))).await?;
    let role = role["id"].as_str().context("a role")?.to_owned();
    put(closed, role.clone(), 0, VIEW_CHANNEL, 0).await?;
    sees(&only_open, "a role that she does not have").await?;
    let of_grace = format!("/guilds/{guild}/members/{grace_id}/roles/{role}");
    bot.call(Method::PUT, &of_grace, None).await?;
    sees(&both, "the role was given").await?;
    bot.call(Method::DELETE, &of_grace, None).await?;
    sees(&only_open, "and taken").await?;
    bot.call(Method::PUT, &of_grace, None).await?;
    bot.call(Method::DELETE, &format!("/guilds/{guild}/roles/{role}"), None).await?;
    sees(&only_open, "the role is gone").await?;

    bot.call(Method::DELETE, &format!("/channels/{open}"), None).await?;
    let (_, body) = search(&grace, guild, "content=needle").await?;
    assert_eq!(
        (contents(&body), &body["total_results"]),
        (Vec::new(), &json!(0)),
        "with its channel a message is gone"
    );
    found(&bot, guild, "content=needle", &only_closed).await?;

    cluster.clarion().admin().remove_member(guild, demo.users[1].id).await?;
    let (status, body) = search(&grace, guild, "content=needle").await?;
    assert_eq!((status.as_u16(), &body["code"]), (403, &json!(50_001)), "who left finds nothing: {body}");
    let (status, body) = search(&bot, UserId(1), "content=needle").await?;
    assert!(status.is_client_error(), "of a guild that is none: {status} {body}");
    Ok(())
}

/// However a membership ends, from that moment on nothing is found; and all of it again after coming back.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_or_is_banned_finds_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let demo = cluster.demo().clone();
    let (guild, grace_id) = (demo.guild_id, demo.users[1].id);
    let (bot, grace) = (cluster.api(cluster.bot(), 0), cluster.api(&demo.users[1], 0));
    bot.send(demo.channel_id, "needle in the open").await?;
    found(&grace, guild, "content=needle", &["needle in the open"]).await?;
    let moderation = 1 << 2;
    let mut session = cluster.session(cluster.bot(), 0, 1 | moderation).await?;

    let (member, ban) = (format!("/guilds/{guild}/members/{grace_id}"), format!("/guilds/{guild}/bans/{grace_id}"));
    let own = format!("/users/@me/guilds/{guild}");
    let ways: [(&Api, Method, &str); 3] =
        [(&grace, Method::DELETE, &own), (&bot, Method::DELETE, &member), (&bot, Method::PUT, &ban)];
    for (who, method, path) in ways {
        let banned = path == ban;
        let (status, body) = who.call(method.clone(), path, None).await?;
        assert_eq!(status, StatusCode::NO_CONTENT, "{method} {path}: {body}");
        // What is there and what is not look the same.
        let answers = [search(&grace, guild, "content=needle").await?, search(&grace, guild, "content=absent").await?];
        assert_eq!((answers[0].0.as_u16(), &answers[0].1["code"]), (403, &json!(50_001)), "{method} {path}");
        assert_eq!(answers[0], answers[1], "{method} {path}");
        found(&bot, guild, "content=needle", &["needle in the open"]).await?;
        let joined = join(&cluster, grace_id).await?;
        if banned {
            assert_eq!(joined, StatusCode::FORBIDDEN, "who is banned does not come back");
            assert_eq!(search(&grace, guild, "content=needle").await?.0, StatusCode::FORBIDDEN);
            let bans = bot.get(&format!("/guilds/{guild}/bans")).await?;
            assert_eq!(bans[0]["user"]["id"], grace_id.to_string(), "{bans}");
            assert_eq!(session.dispatch("GUILD_BAN_ADD").await?["user"]["id"], grace_id.to_string());
            let (status, body) = bot.call(Method::DELETE, &ban, None).await?;
            assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
            assert_eq!(session.dispatch("GUILD_BAN_REMOVE").await?["user"]["id"], grace_id.to_string());
            assert_eq!(bot.call(Method::GET, &ban, None).await?.1["code"], 10_026);
            assert!(join(&cluster, grace_id).await?.is_success());
        } else {
            assert!(joined.is_success(), "{joined}");
        }
        found(&grace, guild, "content=needle", &["needle in the open"]).await?;
    }
    Ok(())
}

/// What a banned user said lately goes with the ban: from the history, from what is found, and before everybody's eyes.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_banned_user_said_lately_goes() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let demo = cluster.demo().clone();
    let (guild, channels, grace_id) = (demo.guild_id, [demo.channel_id, demo.second_channel_id], demo.users[1].id);
    let (bot, grace) = (cluster.api(cluster.bot(), 0), cluster.api(&demo.users[1], 0));
    bot.send(demo.channel_id, "spam is what it is").await?;
    let mut sent = Vec::new();
    for n in 0..6 {
        let message = grace.send(channels[n % 2], "spam of the finest").await?;
        sent.push(message["id"].as_str().context("an id")?.to_owned());
    }
    until(&bot, guild, "content=spam", |found| found.len() == 7).await?;
    let mut session = cluster.session(cluster.bot(), 0, 1 | 1 << 9).await?;
    let ban = format!("/guilds/{guild}/bans/{grace_id}");
    let (status, body) = bot.call(Method::PUT, &ban, Some(json!({ "delete_message_seconds": 3600 }))).await?;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    let mut gone = Vec::new();
    while gone.len() < sent.len() {
        gone.push(session.dispatch("MESSAGE_DELETE").await?["id"].as_str().context("an id")?.to_owned());
    }
    gone.sort();
    sent.sort();
    assert_eq!(gone, sent);
    for (channel, left) in channels.into_iter().zip([1, 0]) {
        let history = bot.get(&format!("/channels/{channel}/messages")).await?;
        assert_eq!(history.as_array().map(Vec::len), Some(left), "{history}");
    }
    found(&bot, guild, "content=spam", &["spam is what it is"]).await
}

/// Makes somebody a member again, as an operator.
async fn join(cluster: &Cluster, user: UserId) -> anyhow::Result<StatusCode> {
    let url = format!("{}/admin/v1/guilds/{}/members/{user}", cluster.admin_url(), cluster.demo().guild_id);
    Ok(reqwest::Client::new().post(url).send().await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_deleted_while_it_serves_is_built_again() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (guild, channel) = (cluster.demo().guild_id, cluster.demo().channel_id);
    let api = cluster.api(cluster.bot(), 0);
    for n in 0..30 {
        api.send(channel, &format!("lasting {n}")).await?;
    }
    wait_for_total(&api, guild, "content=lasting", 30).await?;
    std::fs::remove_dir_all(cluster.data().join("search"))?;
    // Sends do not notice.
    let sender = tokio::spawn({
        let api = api.clone();
        async move {
            for n in 30..60 {
                api.send(channel, &format!("lasting {n}")).await?;
            }
            anyhow::Ok(())
        }
    });
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = search(&api, guild, "content=lasting").await?;
        if status == StatusCode::ACCEPTED {
            assert_eq!(body["code"], 110_000, "{body}");
            break;
        }
        assert!(Instant::now() < deadline, "the loss is noticed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sender.await??;
    wait_for_total(&api, guild, "content=lasting", 60).await?;
    assert!(!cluster.capture().lines_of("index.building").is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_the_index_built_anew_while_the_old_one_serves() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (guild, channel) = (cluster.demo().guild_id, cluster.demo().channel_id);
    let api = cluster.api(cluster.bot(), 0);
    for n in 0..20 {
        api.send(channel, &format!("steady {n}")).await?;
    }
    wait_for_total(&api, guild, "content=steady", 20).await?;
    let before = indexes(&cluster)?;
    let asked = reqwest::Client::new().post(format!("{}/admin/v1/search/rebuild", cluster.admin_url())).send().await?;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    let deadline = Instant::now() + PATIENCE;
    while indexes(&cluster)? == before || indexes(&cluster)?.len() != 1 {
        let (status, body) = search(&api, guild, "content=steady").await?;
        assert_eq!((status, &body["total_results"]), (StatusCode::OK, &json!(20)), "the old one serves: {body}");
        assert!(Instant::now() < deadline, "another one takes its place");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    api.send(channel, "steady 20").await?;
    wait_for_total(&api, guild, "content=steady", 21).await?;
    let state: Value = reqwest::get(format!("{}/admin/v1/search", cluster.admin_url())).await?.json().await?;
    let copy = &state["copies"][0];
    assert_eq!((&copy["serving"]["messages"], &copy["building"]), (&json!(21), &Value::Null), "{state}");
    assert_eq!(copy["serving"]["complete"], copy["serving"]["keys"], "{state}");
    Ok(())
}

/// The folders of indexes that there are.
fn indexes(cluster: &Cluster) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let entries = std::fs::read_dir(cluster.data().join("search"))?;
    Ok(entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect())
}

async fn wait_for_total(
    api: &Api,
    guild: impl std::fmt::Display + Copy,
    query: &str,
    total: u64,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = search(api, guild, query).await?;
        if status == StatusCode::OK && body["total_results"] == total {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{query}: {total} expected, {status}: {}", body["total_results"]);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
