//! The paths of the API, and what is wrong with requests.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::KEY;
use super::filter::Filter;
use super::find::{Document, find, is_kept};
use super::state::{MOMENT, State, Work};

/// Longer words of a text, and longer values of attributes that are filtered by, are left out by the real server.
const LONGEST_WORD: usize = 250;
const LONGEST_VALUE: usize = 468;

/// What a request comes to: an answer, or the code of an error.
type Answer = Result<(u16, Value), (u16, &'static str)>;

pub(super) fn routes(state: Arc<Mutex<State>>) -> Router {
    Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::max(100 << 20)).with_state(state)
}

/// An error as the API says it.
pub(super) fn error(code: &str) -> Value {
    let kind = match code {
        "no_space_left_on_device" => "system",
        "invalid_api_key" | "missing_authorization_header" => "auth",
        _ => "invalid_request",
    };
    json!({ "message": format!("An error: {code}"), "code": code, "type": kind, "link": "https://docs.invalid/" })
}

async fn answer(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests.push(format!("{method} {uri}"));
    let answer = check(&method, &headers, &body).and_then(|body| route(&mut state, &method, &uri, body));
    let (status, body) = answer.unwrap_or_else(|(status, code)| {
        // What is not there, and a full disk, are no mistakes of who asks.
        if !matches!(code, "index_not_found" | "document_not_found" | "no_space_left_on_device") {
            state.complaints.push(format!("{method} {uri}: {code}"));
        }
        (status, error(code))
    });
    (StatusCode::from_u16(status).unwrap_or_default(), axum::Json(body)).into_response()
}

fn check(method: &Method, headers: &HeaderMap, body: &Bytes) -> Result<Value, (u16, &'static str)> {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        None => return Err((401, "missing_authorization_header")),
        Some(value) if value != format!("Bearer {KEY}") => return Err((403, "invalid_api_key")),
        Some(_) => {}
    }
    if matches!(*method, Method::GET | Method::DELETE) {
        return if body.is_empty() { Ok(Value::Null) } else { Err((400, "bad_request")) };
    }
    if headers.get("content-type").is_none_or(|kind| kind != "application/json") {
        return Err((415, "invalid_content_type"));
    }
    serde_json::from_slice(body).map_err(|_| (400, "malformed_payload"))
}

fn route(state: &mut State, method: &Method, uri: &Uri, body: Value) -> Answer {
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    let query = uri.query().unwrap_or_default();
    match (method.as_str(), &path[..]) {
        ("GET", ["tasks", uid]) => {
            let task = uid.parse().ok().and_then(|uid| state.look(uid));
            task.map(|task| (200, task)).ok_or((404, "task_not_found"))
        }
        ("GET", ["indexes"]) => list(state, query),
        ("POST", ["indexes"]) => {
            let body = only(&body, &["uid", "primaryKey"])?;
            let uid = body.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
            if body.get("primaryKey") != Some(&json!("id")) {
                return Err((400, "invalid_index_primary_key"));
            }
            task(state, &uid, Work::Create)
        }
        ("DELETE", ["indexes", uid]) => task(state, uid, Work::Drop),
        ("PATCH", ["indexes", uid, "settings"]) => {
            let settings = settings(&body)?;
            task(state, uid, Work::Settings(settings))
        }
        ("GET", ["indexes", uid, "stats"]) => {
            let index = state.indexes.get(*uid).ok_or((404, "index_not_found"))?;
            let bytes: usize = index.documents.values().map(|document| json!(document).to_string().len()).sum();
            let count = index.documents.len();
            Ok((
                200,
                json!({
                    "numberOfDocuments": count, "rawDocumentDbSize": bytes, "avgDocumentSize": bytes / count.max(1),
                    "isIndexing": false, "numberOfEmbeddings": 0, "numberOfEmbeddedDocuments": 0, "fieldDistribution": {},
                }),
            ))
        }
        ("POST", ["indexes", uid, "documents"]) => {
            if query != "primaryKey=id" {
                return Err((400, "invalid_index_primary_key"));
            }
            let documents = body.as_array().ok_or((400, "malformed_payload"))?;
            documents.iter().try_for_each(document)?;
            task(state, uid, Work::Put(documents.clone()))
        }
        ("POST", ["indexes", uid, "documents", "delete-batch"]) => {
            let ids = body.as_array().ok_or((400, "malformed_payload"))?.iter();
            let ids: Option<Vec<String>> = ids.map(|id| id.as_str().map(str::to_owned)).collect();
            task(state, uid, Work::Delete(ids.ok_or((400, "invalid_document_id"))?))
        }
        ("POST", ["indexes", uid, "documents", "delete"]) => {
            let filter = only(&body, &["filter"])?.get("filter").and_then(Value::as_str);
            let filter = filter.ok_or((400, "missing_document_filter"))?.to_owned();
            Filter::read(&filter, &everything_filterable()).map_err(|_| (400, "invalid_document_filter"))?;
            task(state, uid, Work::DeleteWhere(filter))
        }
        ("POST", ["indexes", uid, "documents", "fetch"]) => fetch(state, uid, &body),
        ("GET", ["indexes", uid, "documents", id]) => {
            let index = state.indexes.get(*uid).ok_or((404, "index_not_found"))?;
            let found = index.documents.get(*id).ok_or((404, "document_not_found"))?;
            Ok((200, json!(found)))
        }
        ("POST", ["indexes", uid, "search"]) => search(state, uid, &body),
        _ => Err((404, "a path that is not there")),
    }
}

fn task(state: &mut State, uid: &str, work: Work) -> Answer {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if uid.is_empty() || uid.len() > 400 || !uid.chars().all(is_name) {
        return Err((400, "invalid_index_uid"));
    }
    if state.full {
        return Err((422, "no_space_left_on_device"));
    }
    Ok((202, state.enqueue(uid, work)))
}

/// An object without other fields.
fn only<'a>(body: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, (u16, &'static str)> {
    let object = body.as_object().ok_or((400, "malformed_payload"))?;
    if object.keys().any(|name| !known.contains(&name.as_str())) {
        return Err((400, "bad_request: an unknown field"));
    }
    Ok(object)
}

fn list(state: &State, query: &str) -> Answer {
    let number = |name: &str| {
        let found = query.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix(name));
        found.and_then(|value| value.parse::<usize>().ok())
    };
    let (offset, limit) = (number("offset=").unwrap_or(0), number("limit=").unwrap_or(20));
    let shown = |uid| json!({ "uid": uid, "createdAt": MOMENT, "updatedAt": MOMENT, "primaryKey": "id" });
    let page: Vec<Value> = state.indexes.keys().skip(offset).take(limit).map(shown).collect();
    Ok((200, json!({ "results": page, "offset": offset, "limit": limit, "total": state.indexes.len() })))
}

fn settings(body: &Value) -> Result<Map<String, Value>, (u16, &'static str)> {
    let known = [
        "rankingRules",
        "filterableAttributes",
        "sortableAttributes",
        "searchableAttributes",
        "pagination",
        "typoTolerance",
    ];
    let settings = only(body, &known)?;
    if settings.get("searchableAttributes") != Some(&json!(["text"])) {
        return Err((400, "invalid_settings_searchable_attributes"));
    }
    let rules = ["words", "typo", "proximity", "attribute", "sort", "exactness"];
    let is_rule =
        |rule: &Value| rule.as_str().is_some_and(|r| rules.contains(&r) || r.ends_with(":asc") || r.ends_with(":desc"));
    if !settings.get("rankingRules").and_then(Value::as_array).is_some_and(|list| list.iter().all(is_rule)) {
        return Err((400, "invalid_settings_ranking_rules"));
    }
    Ok(settings.clone())
}

/// What the real server would refuse of a document, or index in another way than is meant.
fn document(document: &Value) -> Result<(), (u16, &'static str)> {
    let id = document["id"].as_str().unwrap_or_default();
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || id.len() > 511 || !id.chars().all(is_id) {
        return Err((400, "invalid_document_id"));
    }
    let fields = document.as_object().ok_or((400, "malformed_payload"))?;
    if fields.values().filter_map(Value::as_f64).any(|number| number >= (1u64 << 53) as f64) {
        return Err((400, "a number that is not exact"));
    }
    let text = document["text"].as_str().unwrap_or_default();
    if text.chars().any(|c| c != ' ' && !is_kept(c)) || text.split(' ').any(|word| word.len() > LONGEST_WORD) {
        return Err((400, "a text that is cut, or has words that are left out"));
    }
    let values = ["words", "marks"].into_iter().filter_map(|name| document[name].as_array()).flatten();
    if values.filter_map(Value::as_str).any(|value| value.len() > LONGEST_VALUE) {
        return Err((400, "a value that is left out"));
    }
    Ok(())
}

/// For the look at a filter's form before the settings are known.
fn everything_filterable() -> Map<String, Value> {
    let names = ["kind", "channel", "guild", "words", "marks", "hi", "lo"];
    json!({ "filterableAttributes": names }).as_object().cloned().unwrap_or_default()
}

fn number(body: &Map<String, Value>, name: &str, otherwise: usize) -> usize {
    body.get(name).and_then(Value::as_u64).map_or(otherwise, |number| number as usize)
}

fn fetch(state: &State, uid: &str, body: &Value) -> Answer {
    let body = only(body, &["filter", "offset", "limit", "fields"])?;
    let index = state.indexes.get(uid).ok_or((404, "index_not_found"))?;
    let filter = body.get("filter").and_then(Value::as_str).ok_or((400, "invalid_document_filter"))?;
    let filter = Filter::read(filter, &index.settings).map_err(|_| (400, "invalid_document_filter"))?;
    let matching: Vec<&Document> = index.documents.values().filter(|document| filter.holds(document)).collect();
    let (offset, limit) = (number(body, "offset", 0), number(body, "limit", 20));
    let page: Vec<&&Document> = matching.iter().skip(offset).take(limit).collect();
    Ok((200, json!({ "results": page, "offset": offset, "limit": limit, "total": matching.len() })))
}

fn search(state: &mut State, uid: &str, body: &Value) -> Answer {
    let known = ["q", "filter", "sort", "page", "hitsPerPage", "matchingStrategy", "attributesToRetrieve"];
    let body = only(body, &known)?;
    let index = state.indexes.get(uid).ok_or((404, "index_not_found"))?;
    if body.get("matchingStrategy") != Some(&json!("all")) {
        return Err((400, "invalid_search_matching_strategy: not all words would have to be there"));
    }
    let filter = body.get("filter").and_then(Value::as_str).ok_or((400, "no filter: everything would be searched"))?;
    let filter = Filter::read(filter, &index.settings).map_err(|_| (400, "invalid_search_filter"))?;
    let mut sort = Vec::new();
    for by in body.get("sort").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let (name, way) = by.split_once(':').ok_or((400, "invalid_search_sort"))?;
        let sortable = index.settings.get("sortableAttributes").and_then(Value::as_array);
        if !sortable.is_some_and(|list| list.contains(&name.into())) || !["asc", "desc"].contains(&way) {
            return Err((400, "invalid_search_sort"));
        }
        sort.push((name.to_owned(), way == "desc"));
    }
    let text = body.get("q").and_then(Value::as_str).unwrap_or_default();
    let candidates = index.documents.values().filter(|document| filter.holds(document));
    let found = find(index, candidates, text, &sort).map_err(|_| (400, "invalid_search_q"))?;
    let page = body.get("page").and_then(Value::as_u64).filter(|page| *page > 0).ok_or((400, "invalid_search_page"))?;
    let size = number(body, "hitsPerPage", 0);
    if size == 0 {
        return Err((400, "invalid_search_hits_per_page"));
    }
    let most = index.settings.get("pagination").map_or(1_000, |p| p["maxTotalHits"].as_u64().unwrap_or(1_000) as usize);
    let total = found.len().min(most);
    let fields: Vec<&str> = body
        .get("attributesToRetrieve")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let shown = found.iter().take(most).skip((page as usize - 1) * size).take(size).map(|document| {
        let kept = document.iter().filter(|(name, _)| fields.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()
    });
    let hits: Vec<Map<String, Value>> = shown.collect();
    Ok((
        200,
        json!({
            "hits": hits, "query": text, "processingTimeMs": 1, "page": page, "hitsPerPage": size, "totalHits": total,
            "totalPages": total.div_ceil(size),
        }),
    ))
}
