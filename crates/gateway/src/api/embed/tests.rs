//! Embeds as libraries send them, and as they should not.

use serde_json::json;

use super::*;

#[test]
fn embeds_are_kept_without_nulls() {
    let sent = json!([{
        "type": null, "title": "t", "description": null, "color": 255, "fields": [{"name": "n", "value": "v", "inline": null}],
        "footer": {"text": "f", "icon_url": null}, "image": {"url": "https://x/y.png", "width": 1}, "unknown": [1],
        "timestamp": "2026-11-20T09:58:00.519Z",
    }, {"fields": null}]);
    let embeds = Embed::read_all(sent).expect("embeds");
    let kept = json!([{
        "type": "rich", "title": "t", "color": 255, "fields": [{"name": "n", "value": "v", "inline": false}],
        "footer": {"text": "f"}, "image": {"url": "https://x/y.png"}, "timestamp": "2026-11-20T09:58:00.519000+00:00",
    }, {"type": "rich"}]);
    assert_eq!(serde_json::from_str::<Value>(&Embed::stored(&embeds)).expect("JSON"), kept);
    assert_eq!(Embed::stored(&[]), "");
}

#[test]
fn instants_of_embeds_are_kept_in_the_one_form_that_all_libraries_read() {
    for (sent, kept) in [
        ("2026-11-20T09:58:00.519Z", "2026-11-20T09:58:00.519000+00:00"),
        ("2026-11-20t09:58:00z", "2026-11-20T09:58:00.000000+00:00"),
        ("2026-11-20 09:58:00.5198659-05:30", "2026-11-20T15:28:00.519865+00:00"),
        ("2026-11-20T09:58:00.519865+00:00", "2026-11-20T09:58:00.519865+00:00"),
        ("2026-11-20T09:58Z", "2026-11-20T09:58:00.000000+00:00"),
        ("2016-12-31T23:59:60-00:00", "2016-12-31T23:59:59.000000+00:00"),
        ("1969-07-20T20:17:40Z", "1969-07-20T20:17:40.000000+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000+00:00"),
    ] {
        let embeds = Embed::read_all(json!([{"timestamp": sent}])).expect(sent);
        assert_eq!(json!(embeds)[0]["timestamp"], kept, "{sent}");
    }
}

#[test]
fn pictures_that_show_nothing_are_left_out() {
    let sent = json!([{"title": "t", "image": {}, "thumbnail": {"url": null}, "video": {}, "provider": {}}]);
    let embeds = Embed::read_all(sent).expect("embeds");
    assert_eq!(json!(embeds), json!([{"type": "rich", "title": "t"}]));
}

#[test]
fn embeds_that_are_wrong_are_refused_at_the_place() {
    let long = |n: usize| "x".repeat(n);
    let cases = [
        (json!({}), ""),
        (json!([7]), "0"),
        (json!([{}, {"title": 7}]), "1.title"),
        (json!([{"title": "t", "timestamp": 1_795_168_680}]), "0.timestamp"),
        (json!([{"footer": {"text": 7}}]), "0.footer"),
        (json!(vec![json!({}); 11]), ""),
        (json!([{"title": long(257)}]), "0.title"),
        (json!([{"description": long(4_097)}]), "0.description"),
        (json!([{"url": "javascript:x"}]), "0.url"),
        (json!([{"timestamp": "yesterday"}]), "0.timestamp"),
        (json!([{"timestamp": "2026-11-20"}]), "0.timestamp"),
        (json!([{"timestamp": "0000-12-31T23:00:00Z"}]), "0.timestamp"),
        (json!([{"timestamp": "-002026-11-20T09:58:00Z"}]), "0.timestamp"),
        (json!([{"timestamp": "0001-01-01T00:00:00+01:00"}]), "0.timestamp"),
        (json!([{"color": 16_777_216}]), "0.color"),
        (json!([{"footer": {}}]), "0.footer.text"),
        (json!([{"footer": {"text": null, "icon_url": "https://x/y"}}]), "0.footer.text"),
        (json!([{"author": {"url": "https://x/y"}}]), "0.author.name"),
        (json!([{"author": {"name": " "}}]), "0.author.name"),
        (json!([{"fields": [{"name": "n", "value": "v"}, {"name": "n"}]}]), "0.fields.1.value"),
        (json!([{"fields": [{"name": null, "value": "v"}]}]), "0.fields.0.name"),
        (json!([{"image": {"url": "https://"}}]), "0.image.url"),
        (json!([{"thumbnail": {"url": "http://a b/c"}}]), "0.thumbnail.url"),
        (json!([{"fields": [{"name": "n", "value": "v"}, {"name": long(257), "value": "v"}]}]), "0.fields.1.name"),
        (json!([{"fields": vec![json!({"name": "n", "value": "v"}); 26]}]), "0.fields"),
        (json!([{"description": long(4_000)}, {"description": long(2_001)}]), ""),
    ];
    for (sent, path) in cases {
        let fault = Embed::read_all(sent.clone()).expect_err("refused");
        assert_eq!(fault.path, path, "{sent} {fault:?}");
    }
}
