//! One message is one trace: over two gateways, the router and the channel server, as an OTLP receiver sees it.

use anyhow::Context;
use clarion::Topology;
use clarion_e2e::Cluster;
use clarion_e2e::otlp::{Receiver, Span, edges};
use reqwest::Method;
use serde_json::json;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_one_trace() -> anyhow::Result<()> {
    let (receiver, address) = Receiver::start().await?;
    let topology = Topology { gateways: 2, ..Topology::default() };
    let cluster = Cluster::with(topology, |config| {
        config.telemetry.otlp_endpoint = Some(format!("http://{address}"));
    })
    .await?;
    let mut here = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let mut there = cluster.session(cluster.other_bot(), 1, INTENTS).await?;
    let api = cluster.api(cluster.bot(), 0);
    let path = format!("/channels/{}/messages", cluster.demo().channel_id);

    let mut traces = Vec::new();
    for content in ["cold", "warm"] {
        let answer = api.request(Method::POST, &path).json(&json!({ "content": content })).send().await?;
        assert_eq!(answer.status(), 200);
        let trace = answer.headers().get("x-trace-id").context("X-Trace-ID")?.to_str()?.to_owned();
        assert_eq!(trace.len(), 32);
        for socket in [&mut here, &mut there] {
            assert_eq!(socket.dispatch("MESSAGE_CREATE").await?["content"], content);
        }
        traces.push(trace);
    }

    let tree = |route: &str| {
        let mut tree = vec![
            "gateway.receive@gateway-0 < -".to_owned(),
            "gateway.authenticate@gateway-0 < gateway.receive@gateway-0".to_owned(),
            format!("channel.route@{route} < gateway.receive@gateway-0"),
            "channel.process@channel-0 < gateway.receive@gateway-0".to_owned(),
            "db.write@channel-0 < channel.process@channel-0".to_owned(),
            "channel.fanout@channel-0 < channel.process@channel-0".to_owned(),
            "gateway.deliver@gateway-0 < channel.fanout@channel-0".to_owned(),
            "gateway.deliver@gateway-1 < channel.fanout@channel-0".to_owned(),
        ];
        tree.sort();
        tree
    };
    // The router had to ask the store in which key the channel lies.
    let mut expected = tree("router-0");
    expected.push("db.query@router-0 < channel.route@router-0".to_owned());
    expected.sort();
    let cold = receiver.trace(&traces[0], 9).await?;
    assert_eq!(edges(&cold), expected);
    let warm = receiver.trace(&traces[1], 8).await?;
    assert_eq!(edges(&warm), tree("gateway-0"));

    let find = |spans: &[Span], name: &str| spans.iter().find(|s| s.name == name).cloned().context(name.to_owned());
    assert_eq!(find(&cold, "channel.route")?.text("cached"), "false");
    let route = find(&warm, "channel.route")?;
    assert_eq!(route.text("cached"), "true");
    assert_eq!(route.text("target_server"), "channel-0");
    assert_eq!(route.text("channel_id"), cluster.demo().channel_id.to_string());
    assert_eq!(find(&warm, "gateway.receive")?.service, "gateway");
    assert_eq!(find(&warm, "gateway.receive")?.text("user_id"), cluster.bot().id.to_string());
    assert_eq!(find(&warm, "gateway.authenticate")?.text("success"), "true");
    assert_eq!(find(&warm, "channel.process")?.text("member_count"), "4");
    assert_eq!(find(&warm, "channel.fanout")?.text("recipient_count"), "2");
    for deliver in warm.iter().filter(|s| s.name == "gateway.deliver") {
        assert_eq!(deliver.text("recipient_count"), "1");
        assert_eq!(deliver.text("failed_count"), "0");
    }

    // The log lines of the send name the trace, and none of them says what was said.
    let lines = cluster.capture().lines_of("message.sent");
    for trace in &traces {
        assert!(lines.iter().any(|line| line["trace_id"] == **trace), "{trace}: {lines:#?}");
    }
    let all = cluster.capture().text();
    assert!(!all.contains("\"cold\"") && !all.contains("\"warm\"") && !all.contains(&cluster.bot().token));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_start_the_trace() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let api = cluster.api(cluster.bot(), 0);
    let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{theirs}-00f067aa0ba902b7-00");
    let other = "0af7651916cd43dd8448eb211c80319c";
    let trace_of = async |headers: &[(&str, &str)]| -> anyhow::Result<String> {
        let mut request = api.request(Method::GET, "/users/@me");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        Ok(answer.headers().get("x-trace-id").context("X-Trace-ID")?.to_str()?.to_owned())
    };
    assert_eq!(trace_of(&[("traceparent", &parent), ("x-trace-id", other)]).await?, theirs);
    assert_eq!(trace_of(&[("x-trace-id", other)]).await?, other);
    let new = trace_of(&[("x-trace-id", "order-17")]).await?;
    assert!(new.len() == 32 && new != other, "{new}");
    let spans = cluster.capture().wait_for(|spans| spans.iter().any(|s| s.trace_id.to_string() == new)).await?;
    let root =
        spans.iter().find(|s| s.trace_id.to_string() == new && s.name == "gateway.receive").context("the root")?;
    assert_eq!(root.attribute("client.trace_id").as_deref(), Some("order-17"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_leads_to_its_trace() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (channel, api) = (cluster.demo().channel_id, cluster.api(cluster.bot(), 0));
    let mut socket = cluster.session(cluster.other_bot(), 0, INTENTS).await?;
    let send = api.request(Method::POST, &format!("/channels/{channel}/messages"));
    let answer = send.json(&json!({ "content": "hello" })).send().await?.error_for_status()?;
    let trace = answer.headers()["x-trace-id"].to_str()?.to_owned();
    let text = answer.text().await?;
    let message: serde_json::Value = serde_json::from_str(&text)?;
    let id = message["id"].as_str().context("an id")?;

    let path = format!("/channels/{channel}/messages/{id}");
    let ada = cluster.extension(&cluster.demo().users[0], 0);
    let found = ada.get(&format!("{path}/trace")).await?;
    assert_eq!(found["trace_id"], json!(trace));
    let url = found["url"].as_str().context("a page")?;
    assert_eq!(url, format!("{}/debug/traces/{trace}", cluster.admin_url()));
    // The page is there once a span of the trace has ended.
    cluster.capture().wait_for(|spans| spans.iter().any(|span| span.trace_id.to_string() == trace)).await?;
    assert_eq!(reqwest::get(url).await?.status(), 200);

    // Neither answers nor dispatches say it: they are what libraries know.
    let told = socket.dispatch("MESSAGE_CREATE").await?.to_string();
    api.call(Method::PATCH, &path, Some(json!({ "content": "changed" }))).await?;
    let changed = socket.dispatch("MESSAGE_UPDATE").await?.to_string();
    let read = api.get(&path).await?.to_string();
    for said in [text, told, changed, read] {
        assert!(!said.contains("trace") && !said.contains(&trace), "{said}");
    }
    assert_eq!(ada.get(&format!("{path}/trace")).await?["trace_id"], json!(trace), "an edit does not change it");
    let nowhere = ada.call(Method::GET, &format!("/channels/{channel}/messages/7/trace"), None).await?;
    assert_eq!((nowhere.0.as_u16(), &nowhere.1["code"]), (404, &json!(10_008)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_says_where_traces_are_shown() -> anyhow::Result<()> {
    let elsewhere =
        |config: &mut clarion::Config| config.gateway.trace_url = Some("http://jaeger/trace/{trace_id}".into());
    let cluster = Cluster::with(Topology::default(), elsewhere).await?;
    let (channel, ada) = (cluster.demo().channel_id, cluster.demo().users[0].clone());
    let message = cluster.api(&ada, 0).send(channel, "hello").await?;
    let path = format!("/channels/{channel}/messages/{}/trace", message["id"].as_str().context("an id")?);
    let found = cluster.extension(&ada, 0).get(&path).await?;
    let trace = found["trace_id"].as_str().context("an id")?;
    assert_eq!(found["url"], json!(format!("http://jaeger/trace/{trace}")));
    Ok(())
}
