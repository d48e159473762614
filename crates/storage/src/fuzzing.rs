//! What fuzzing sends through this crate: what stores keep, as it might be found on a damaged disk.

/// Keys and rows of a store or an index; the first byte says of which. What is read is written again as it was; what
/// cannot be read is damaged, and nothing worse.
pub fn records(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 3 {
        0 => crate::embedded::fuzzing::rows(data),
        1 => crate::scylla::fuzzing::rows(data),
        _ => crate::index::fuzzing::rows(data),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("stored_records", super::records);
    }
}
