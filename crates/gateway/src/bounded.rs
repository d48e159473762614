//! A map with a bound: two generations, of which the older is dropped when the younger is full. What is used moves to the
//! younger one, so what goes is what nobody used for longest, roughly, and nothing is ever searched. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A map that holds at most as many entries as it was made for.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Of each generation.
    most: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// A map of at most `most` entries; at least two.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: (most / 2).max(1) }
    }

    /// What is there, for longer from now on.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// What is there, without keeping it for longer.
    pub(crate) fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Puts something in, in place of what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Takes something out.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Everything that is there.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.young.values_mut().chain(self.old.values_mut())
    }

    /// How much is there.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_used_stays() {
        let mut map = Bounded::new(8);
        map.insert(0, "used");
        for n in 1..1_000 {
            map.insert(n, "once");
            assert_eq!(map.get_mut(&0), Some(&mut "used"), "after {n}");
        }
        assert_eq!(map.peek(&1), None);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_bound(keys in prop::collection::vec(0u8..40, 0..300), most in 2usize..20) {
            let mut map = Bounded::new(most);
            for key in keys {
                match key % 3 {
                    0 => { map.remove(&(key / 2)); }
                    1 => { map.get_mut(&(key / 2)); }
                    _ => map.insert(key, ()),
                }
                prop_assert!(map.len() <= most);
            }
        }
    }
}
