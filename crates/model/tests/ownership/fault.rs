//! Ways to break the rules, at least one for each of them, to see that it does not go unnoticed.

/// What a faulty owner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Takes the slot even if another one was faster to raise it (rule 1).
    NoCompare,
    /// Reads the tails, and raises the epoch after that (rule 2).
    ReadBeforeRaise,
    /// Builds on rows that no quorum holds (rule 2).
    NoWriteBack,
    /// Never writes a seal (rule 3).
    NoSeal,
    /// Writes a batch before the last one is known to be written (rule 4).
    Overlap,
    /// Acknowledges a batch that is only on its way (rule 5).
    AcknowledgeBeforeWrite,
    /// Takes its own word for the epoch (rule 5).
    NoEpochRead,
    /// Shows followers what it has not acknowledged (rule 5).
    ShowEarly,
    /// Gives out ids by the clock alone (rule 6).
    ForgetIds,
    /// Believes nonces that rows beyond a seal left behind.
    BelieveEveryNonce,
}

impl Fault {
    pub(crate) const ALL: [Fault; 10] = [
        Fault::NoCompare,
        Fault::ReadBeforeRaise,
        Fault::NoWriteBack,
        Fault::NoSeal,
        Fault::Overlap,
        Fault::AcknowledgeBeforeWrite,
        Fault::NoEpochRead,
        Fault::ShowEarly,
        Fault::ForgetIds,
        Fault::BelieveEveryNonce,
    ];
}
