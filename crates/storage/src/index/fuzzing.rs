//! What fuzzing finds in an index, and what goes into one.

use clarion_model::message::MessageView;
use clarion_proto::v1;
use prost::Message as _;

use super::Document;
use super::progress::ProgressRow;

/// How far a key has got, or a message; the first byte says which.
pub(crate) fn rows(data: &[u8]) {
    match data {
        [0, data @ ..] => progress(data),
        [_, data @ ..] => document(data),
        [] => {}
    }
}

fn progress(data: &[u8]) {
    let Some(progress) = ProgressRow::decode(data).ok().and_then(ProgressRow::read) else { return };
    assert_eq!(ProgressRow::from(&progress).read(), Some(progress));
}

/// The marks of a message are of known kinds, each once.
fn document(data: &[u8]) {
    let Ok(view) =
        v1::MessageView::decode(data).map_err(drop).and_then(|view| MessageView::try_from(view).map_err(drop))
    else {
        return;
    };
    let document = Document::new(&view, None);
    assert_eq!((document.id, &document.content), (view.message.id, &view.message.content));
    assert!(document.marks.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(document.marks.iter().all(|mark| mark.contains(':')));
    assert_eq!(Document::new(&view, None), document);
}
