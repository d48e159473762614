//! The web client: a page, modules and styles, kept in the binary and served so that a browser runs nothing else.
//!
//! The client itself is in `web/`; it speaks the API and the gateway like everybody. `docs/web-client.md` says more.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Only what this origin serves, and no script or style that stands in a page. Scripts may not make markup of texts.
const POLICY: &str = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// What stands in every answer. Files are named the same in each version, so browsers ask each time whether they changed.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// A file of the client.
struct File {
    path: &'static str,
    body: &'static [u8],
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(File { path: concat!("/web/", $name), body: include_bytes!(concat!("../web/", $name)) }),*]
    };
}

const PAGE: File = File { path: "/", body: include_bytes!("../web/index.html") };
const FILES: &[File] = files! {
    "api.js" "backoff.js" "devices.js" "dom.js" "gateway.js" "history.js" "icon.svg" "ids.js" "main.js" "markdown.js"
    "mentions.js" "outbox.js" "reading.js" "session.js" "state/guilds.js" "state/permissions.js" "state/reads.js"
    "state/reduce.js" "state/rows.js" "state/search.js" "state/timeline.js" "state/voice.js" "storage.js" "store.js" "style/base.css"
    "style/layout.css" "style/messages.css" "style/pieces.css" "style/search.css" "style/voice.css" "theme.js" "time.js" "timers.js" "views/act.js"
    "views/channels.js" "views/composer.js" "views/dialog.js" "views/editor.js" "views/link.js" "views/markup.js"
    "views/members.js" "views/message.js" "views/picker.js" "views/pieces.js" "views/popup.js" "views/search.js" "views/signin.js"
    "views/theme.js" "views/timeline.js" "views/voice.js" "views/welcome.js" "views/workspace.js" "voice.js"
};

/// The routes of everything but the page.
pub(crate) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        let tag = file.tag();
        router.route(file.path, get(move |headers: HeaderMap| async move { file.answer(&tag, &headers) }))
    })
}

/// The page.
pub(crate) fn page(headers: &HeaderMap) -> Response {
    PAGE.answer(&PAGE.tag(), headers)
}

impl File {
    /// Differs when the content does.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    fn kind(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }

    fn answer(&self, tag: &str, asked: &HeaderMap) -> Response {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let is_known = known
            .flat_map(|tags| tags.split(','))
            .any(|known| matches!(known.trim().trim_start_matches("W/"), "*") || known.trim().ends_with(tag));
        let mut response = match is_known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => Response::new(Body::from(self.body)),
        };
        let headers = response.headers_mut();
        headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind()));
        headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use axum::body::to_bytes;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    fn asks(tag: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, tag.parse().expect("a value"))])
    }

    fn walk(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true if name == "test" => {}
                true => walk(&entry.path(), &format!("{name}/"), found),
                false => {
                    found.insert(format!("/web/{name}"));
                }
            }
        }
    }

    #[test]
    fn every_file_of_the_client_is_served_and_every_import_finds_one() {
        let served: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        let mut there = BTreeSet::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"), "", &mut there);
        // The page has a path of its own; the other is for the tests.
        there.remove("/web/index.html");
        there.remove("/web/package.json");
        assert_eq!(served, there);
        let page = std::str::from_utf8(PAGE.body).expect("text");
        for quoted in page.split('"').filter(|text| text.starts_with("/web/")) {
            assert!(served.contains(quoted), "the page names {quoted}");
        }
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"), "no inline code");
        for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
            let text = std::str::from_utf8(file.body).expect("text");
            assert!(text.starts_with("//"), "{} says what it is for", file.path);
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(word), "{} makes markup of text: {word}", file.path);
            }
        }
    }

    #[test]
    fn the_page_may_speak_to_its_own_origin_and_to_nobody_else() {
        let answer = page(&HeaderMap::new());
        let policies: Vec<_> = answer.headers().get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, [POLICY]);
        assert!(POLICY.starts_with("default-src 'self';") && !POLICY.contains("connect-src"), "{POLICY}");
        assert_eq!(page(&asks(&PAGE.tag())).status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn a_file_is_sent_once_and_then_only_confirmed() {
        let file = FILES.iter().find(|file| file.path == "/web/main.js").expect("the first module");
        let ask = |headers: HeaderMap| async move {
            let mut request = Request::get(file.path).body(Body::empty()).expect("a request");
            *request.headers_mut() = headers;
            routes().oneshot(request).await.expect("an answer")
        };
        let first = ask(HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(
            first.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").starts_with("default-src 'self';")
        );
        let tag = first.headers()[header::ETAG].to_str().expect("text").to_owned();
        assert_eq!(to_bytes(first.into_body(), usize::MAX).await.expect("a body"), file.body);
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(asks(&known)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG].to_str().expect("text"), tag);
            assert!(to_bytes(again.into_body(), usize::MAX).await.expect("a body").is_empty());
        }
        assert_eq!(ask(asks("\"0000000000000000\"")).await.status(), StatusCode::OK);
    }
}
