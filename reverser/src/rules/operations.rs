//! What rules allow to happen to a file.

use crate::api::RuleOperation;
use crate::change::Operation;

/// A set of operations, judged by their effect on the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operations {
    create: bool,
    update: bool,
    delete: bool,
}

impl Operations {
    /// All three.
    pub const ALL: Self = Self {
        create: true,
        update: true,
        delete: true,
    };

    /// What a rule lists; an omitted list means all.
    #[must_use]
    pub fn from_rule(listed: Option<&[RuleOperation]>) -> Self {
        let Some(listed) = listed else {
            return Self::ALL;
        };
        listed.iter().fold(Self::default(), |set, operation| {
            set.union(match operation {
                RuleOperation::Create => Self {
                    create: true,
                    ..Self::default()
                },
                RuleOperation::Update => Self {
                    update: true,
                    ..Self::default()
                },
                RuleOperation::Delete => Self {
                    delete: true,
                    ..Self::default()
                },
                RuleOperation::All => Self::ALL,
            })
        })
    }

    /// What either allows.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            create: self.create || other.create,
            update: self.update || other.update,
            delete: self.delete || other.delete,
        }
    }

    /// Whether this may happen.
    #[must_use]
    pub fn allows(self, operation: Operation) -> bool {
        match operation {
            Operation::Create => self.create,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_add_up() {
        let one = Operations::from_rule(Some(&[RuleOperation::Create]));
        let two = Operations::from_rule(Some(&[RuleOperation::Delete]));
        let both = one.union(two);
        assert!(both.allows(Operation::Create) && both.allows(Operation::Delete));
        assert!(!both.allows(Operation::Update));
    }

    #[test]
    fn omitted_and_star_mean_all() {
        assert_eq!(Operations::from_rule(None), Operations::ALL);
        assert_eq!(
            Operations::from_rule(Some(&[RuleOperation::All])),
            Operations::ALL
        );
    }
}
