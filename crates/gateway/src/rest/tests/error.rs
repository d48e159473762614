//! What is answered when something is wrong, and what every answer carries.

use axum::http::Method;
use serde_json::json;
use tonic::Status;

use super::peer::{CHANNEL, MESSAGE, refusal};
use super::*;
use crate::rate_limit::RateLimit;

const HEADERS: [&str; 8] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-ratelimit-bucket",
    "x-ratelimit-scope",
    "x-request-id",
    "x-trace-id",
];

fn messages() -> String {
    format!("/channels/{CHANNEL}/messages")
}

fn limits(change: impl FnOnce(&mut RateLimits)) -> RestConfig {
    let mut config = RestConfig::default();
    change(&mut config.rate_limits);
    config
}

#[tokio::test]
async fn every_answer_carries_its_headers_and_errors_are_json() {
    let edge = Edge::new().await;
    let nobody = Request::builder().uri("/api/v10/users/@me").body(Body::empty()).expect("a request");
    let answers = [
        edge.get("/users/@me").await,
        edge.get("/nowhere").await,
        edge.call(Method::DELETE, "/users/@me", "").await,
        edge.send(nobody).await,
        edge.call(Method::POST, &messages(), "{").await,
        edge.get("/channels/77").await,
        edge.get("/channels/abc").await,
        edge.call(Method::DELETE, &format!("{}/{MESSAGE}", messages()), "").await,
    ];
    let codes: Vec<_> = answers.iter().map(Got::error).collect();
    let none = u64::MAX;
    assert_eq!(
        codes,
        [(200, none), (404, 0), (405, 0), (401, 0), (400, 50_109), (404, 10_003), (400, 50_035), (204, none)]
    );
    for answer in &answers {
        for name in HEADERS {
            assert!(!answer.header(name).is_empty(), "{name}: {answer:?}");
        }
        assert_eq!(answer.header("x-ratelimit-scope"), "user");
        assert_eq!(answer.header("x-trace-id").len(), 32);
        let kind = if answer.status == 204 { "" } else { "application/json" };
        assert_eq!(answer.header("content-type"), kind);
    }
    assert_eq!(answers[3].body, json!({"message": "401: Unauthorized", "code": 0}));
    assert!(answers[6].body["errors"]["channel_id"]["_errors"][0]["code"].is_string());
}

#[tokio::test]
async fn a_bad_body_is_refused_for_what_is_bad_about_it() {
    let edge = Edge::new().await;
    for (body, code) in [
        (&b"{\"content\":\"\xff\"}"[..], 50_109),
        (b"[]", 50_035),
        (b"", 50_006),
        (b"{\"content\":\"\"}", 50_006),
        (b"{\"content\":{}}", 50_035),
    ] {
        let got = edge.call(Method::POST, &messages(), body.to_vec()).await;
        assert_eq!(got.error(), (400, code), "{body:?}");
    }
    let long = edge.post(&messages(), &json!({"content": "x".repeat(2_001)})).await;
    assert_eq!(long.body["errors"]["content"]["_errors"][0]["code"], "BASE_TYPE_MAX_LENGTH");
    let huge = edge.call(Method::POST, &messages(), "x".repeat((1 << 20) + 1)).await;
    assert_eq!(huge.error(), (413, 40_005));
    // The same without a length to go by.
    let chunks = (0..3).map(|_| Ok::<_, std::io::Error>("x".repeat(1 << 19)));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(edge.call(Method::POST, &messages(), body).await.error(), (413, 40_005));
    // The account's owner was looked for, and nobody else.
    assert_eq!(edge.fake.calls().len(), 1);
}

#[tokio::test]
async fn refusals_of_the_owner_are_passed_on_in_its_words() {
    let edge = Edge::new().await;
    edge.fake.fail([refusal(400, 50_035, &[("embeds.0.title", "A", "a")]), refusal(403, 50_013, &[])]);
    let form = edge.post(&messages(), &json!({"content": "x"})).await;
    let expected = json!({
        "message": "No", "code": 50_035, "errors": {"embeds": {"0": {"title": {"_errors": [{"code": "A", "message": "a"}]}}}},
    });
    assert_eq!((form.status.as_u16(), form.body), (400, expected));
    let denied = edge.post(&messages(), &json!({"content": "x"})).await;
    assert_eq!((denied.status.as_u16(), denied.body), (403, json!({"message": "No", "code": 50_013})));
    edge.fake.fail([refusal(200, 0, &[]), Status::internal("oops")]);
    for _ in 0..2 {
        assert_eq!(edge.post(&messages(), &json!({"content": "x"})).await.error(), (500, 0));
    }
}

#[tokio::test]
async fn who_sends_too_often_is_told_when_to_come_back() {
    let edge = Edge::with(RestConfig::default()).await;
    for left in (0..5).rev() {
        let got = edge.post(&messages(), &json!({"content": "x"})).await;
        let headers = (got.header("x-ratelimit-limit"), got.header("x-ratelimit-remaining"));
        assert_eq!((got.status.as_u16(), headers), (200, ("5", left.to_string().as_str())));
    }
    let got = edge.post(&messages(), &json!({"content": "x"})).await;
    assert_eq!((got.error(), &got.body["global"]), ((429, 0), &json!(false)));
    assert!(got.header("retry-after").parse::<u64>().is_ok_and(|after| (1..=5).contains(&after)), "{got:?}");
    assert!(got.body["retry_after"].as_f64().is_some_and(|after| after > 0.0 && after <= 5.0));
    assert_eq!((got.header("via"), got.header("x-ratelimit-remaining")), ("1.1 clarion", "0"));
    assert_eq!((got.header("x-ratelimit-scope"), got.header("content-type")), ("user", "application/json"));
    // Other operations have windows of their own.
    assert_eq!(edge.get(&messages()).await.status, 200);
    let metrics = edge.capture.process().render_metrics();
    assert!(metrics.contains(r#"scope="channel""#), "{metrics}");
}

#[tokio::test]
async fn all_requests_of_a_user_count_together() {
    let edge = Edge::with(limits(|limits| limits.global = RateLimit { limit: 2, window_ms: 60_000 })).await;
    for path in ["/users/@me", "/gateway/bot"] {
        assert_eq!(edge.get(path).await.status, 200);
    }
    let got = edge.get("/users/43").await;
    assert_eq!((got.error(), &got.body["global"]), ((429, 0), &json!(true)));
    assert_eq!((got.header("x-ratelimit-global"), got.header("x-ratelimit-scope")), ("true", "global"));
}

#[tokio::test]
async fn an_address_that_guesses_tokens_is_stopped_but_not_those_who_are_known() {
    let edge = Edge::with(limits(|limits| limits.invalid = RateLimit { limit: 3, window_ms: 60_000 })).await;
    assert_eq!(edge.get("/users/@me").await.status, 200);
    let guess = || async {
        let request = Request::builder().uri("/api/v10/users/@me").header(header::AUTHORIZATION, "Bot NDI.AAAA.guess");
        edge.send(request.body(Body::empty()).expect("a request")).await.status.as_u16()
    };
    assert_eq!([guess().await, guess().await, guess().await, guess().await], [401, 401, 401, 429]);
    assert_eq!(edge.get("/users/@me").await.status, 200);
}
