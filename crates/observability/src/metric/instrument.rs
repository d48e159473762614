//! The instruments: handles registered once, arrays of them indexed by label, nothing hashed where it is hot.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::buckets::Buckets;
use super::{Descriptor, Kind, Label, LabelSet, Meter};

/// Something a table row can describe and a meter can register.
pub trait Instrument: Sized {
    /// Its kind.
    const KIND: Kind;
    /// Its labels beside the constant ones.
    const LABELS: &'static [LabelSet];

    /// Registers it.
    fn register(meter: &Meter, descriptor: &Descriptor) -> Self;
}

/// An instrument without labels of its own; what [`By`] multiplies.
pub trait Plain: Instrument {
    /// Registers it with further labels.
    fn labelled(meter: &Meter, descriptor: &Descriptor, labels: &[metrics::Label]) -> Self;
}

/// Only rises.
#[derive(Clone)]
pub struct Counter(metrics::Counter);

/// Rises and falls.
#[derive(Clone)]
pub struct Gauge(metrics::Gauge);

/// Counts by buckets.
#[derive(Clone)]
pub struct Histogram(Arc<Buckets>);

/// Holds a gauge up by one until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

/// One instrument a value of a label.
#[derive(Debug)]
pub struct By<L, I> {
    handles: Arc<[I]>,
    label: PhantomData<L>,
}

/// One instrument a pair of values of two labels.
#[derive(Debug)]
pub struct By2<A, B, I> {
    handles: Arc<[I]>,
    labels: PhantomData<(A, B)>,
}

/// An instrument that carries the instance's name in one more label, `N`.
#[derive(Debug, Clone)]
pub struct Own<N, I> {
    handle: I,
    name: PhantomData<N>,
}

/// The name of a label that holds the instance.
pub trait Named {
    /// The label.
    const SET: LabelSet;
}

/// The label `gateway_instance`.
#[derive(Debug, Clone)]
pub struct GatewayInstance;

/// The label `channel_server`.
#[derive(Debug, Clone)]
pub struct ChannelServer;

impl Counter {
    /// Adds.
    pub fn increment(&self, by: u64) {
        self.0.increment(by);
    }
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds.
    pub fn increment(&self, by: f64) {
        self.0.increment(by);
    }

    /// Takes away.
    pub fn decrement(&self, by: f64) {
        self.0.decrement(by);
    }

    /// One more, until the guard is dropped.
    pub fn hold(&self) -> GaugeGuard {
        self.increment(1.0);
        GaugeGuard(self.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, value: f64) {
        self.0.record(value, 1);
    }

    /// Counts one duration, in seconds.
    pub fn record_duration(&self, duration: Duration) {
        self.record(duration.as_secs_f64());
    }

    /// Counts one duration so many times, in seconds.
    pub fn record_many(&self, duration: Duration, times: u64) {
        self.0.record(duration.as_secs_f64(), times);
    }
}

impl<L: Label, I> By<L, I> {
    /// The instrument of one value.
    pub fn with(&self, label: L) -> &I {
        &self.handles[label.index()]
    }
}

impl<A: Label, B: Label, I> By2<A, B, I> {
    /// The instrument of one pair.
    pub fn with(&self, a: A, b: B) -> &I {
        &self.handles[a.index() * B::VARIANTS.len() + b.index()]
    }
}

impl<N, I> Deref for Own<N, I> {
    type Target = I;
    fn deref(&self) -> &I {
        &self.handle
    }
}

impl<L, I> Clone for By<L, I> {
    fn clone(&self) -> Self {
        By { handles: self.handles.clone(), label: PhantomData }
    }
}

impl<A, B, I> Clone for By2<A, B, I> {
    fn clone(&self) -> Self {
        By2 { handles: self.handles.clone(), labels: PhantomData }
    }
}

impl Named for GatewayInstance {
    const SET: LabelSet = LabelSet { name: "gateway_instance", values: &[] };
}

impl Named for ChannelServer {
    const SET: LabelSet = LabelSet { name: "channel_server", values: &[] };
}

macro_rules! plain {
    ($($name:ident, $method:ident, $inner:ty);*) => {$(
        impl Instrument for $name {
            const KIND: Kind = Kind::$name;
            const LABELS: &'static [LabelSet] = &[];
            fn register(meter: &Meter, descriptor: &Descriptor) -> Self { meter.$method(descriptor, &[]) }
        }
        impl Plain for $name {
            fn labelled(meter: &Meter, descriptor: &Descriptor, labels: &[metrics::Label]) -> Self { meter.$method(descriptor, labels) }
        }
        impl From<$inner> for $name {
            fn from(handle: $inner) -> Self { $name(handle) }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(stringify!($name)) }
        }
    )*};
}
plain!(Counter, counter, metrics::Counter; Gauge, gauge, metrics::Gauge; Histogram, histogram, Arc<Buckets>);

fn value<L: Label>(label: L) -> metrics::Label {
    metrics::Label::from_static_parts(L::SET.name, label.as_str())
}

impl<L: Label, I: Plain> Instrument for By<L, I> {
    const KIND: Kind = I::KIND;
    const LABELS: &'static [LabelSet] = &[L::SET];
    fn register(meter: &Meter, descriptor: &Descriptor) -> Self {
        let handles = L::VARIANTS.iter().map(|l| I::labelled(meter, descriptor, &[value(*l)])).collect();
        By { handles, label: PhantomData }
    }
}

impl<A: Label, B: Label, I: Plain> Instrument for By2<A, B, I> {
    const KIND: Kind = I::KIND;
    const LABELS: &'static [LabelSet] = &[A::SET, B::SET];
    fn register(meter: &Meter, descriptor: &Descriptor) -> Self {
        let pairs = A::VARIANTS.iter().flat_map(|a| B::VARIANTS.iter().map(move |b| (*a, *b)));
        let handles = pairs.map(|(a, b)| I::labelled(meter, descriptor, &[value(a), value(b)])).collect();
        By2 { handles, labels: PhantomData }
    }
}

impl<N: Named, I: Plain> Instrument for Own<N, I> {
    const KIND: Kind = I::KIND;
    const LABELS: &'static [LabelSet] = &[N::SET];
    fn register(meter: &Meter, descriptor: &Descriptor) -> Self {
        let label = metrics::Label::new(N::SET.name, meter.instance().to_owned());
        Own { handle: I::labelled(meter, descriptor, &[label]), name: PhantomData }
    }
}
