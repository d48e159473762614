//! What fuzzing sends through this crate: what gateways and operators ask an owner.

pub use crate::grpc::fuzzing::commands;

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("channel_commands", super::commands);
    }
}
