//! Reading a JSON object member by member, so that a wrong type, a missing member and a broken rule are
//! told apart and every one of them is named.

use serde_json::{Map, Value};
use tutti_common::status::Violation;

/// What is wrong with a request's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadFields {
    /// Some have the wrong JSON type.
    Types(Vec<Violation>),
    /// Some are missing.
    Missing(Vec<Violation>),
}

impl BadFields {
    /// What is wrong with which.
    pub(crate) fn violations(&self) -> &[Violation] {
        match self {
            Self::Types(violations) | Self::Missing(violations) => violations,
        }
    }
}

/// A JSON object being read. Null counts as left out where a member is optional.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    prefix: &'static str,
    types: Vec<Violation>,
    missing: Vec<Violation>,
}

impl<'a> Fields<'a> {
    /// Reads `object`; in messages its members are called `prefix` and their names.
    pub(crate) fn of(object: &'a Map<String, Value>, prefix: &'static str) -> Self {
        Self {
            object,
            prefix,
            types: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn wrong_type(&mut self, name: &str, wanted: &str) {
        let field = format!("{}{name}", self.prefix);
        self.types
            .push(Violation::new(field, format!("must be {wanted}")));
    }

    fn optional<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.object.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.wrong_type(name, wanted);
        }
        read
    }

    fn required<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        match self.object.get(name) {
            None => {
                let field = format!("{}{name}", self.prefix);
                self.missing.push(Violation::new(field, "is missing"));
                None
            }
            Some(value) => {
                let read = read(value);
                if read.is_none() {
                    self.wrong_type(name, wanted);
                }
                read
            }
        }
    }

    /// A string that must be there.
    pub(crate) fn text(&mut self, name: &str) -> String {
        self.required(name, "a string", Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// A string, if there.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        self.optional(name, "a string", Value::as_str)
            .map(str::to_owned)
    }

    /// A boolean that must be there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.required(name, "true or false", Value::as_bool)
            .unwrap_or_default()
    }

    /// A boolean, if there.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Option<bool> {
        self.optional(name, "true or false", Value::as_bool)
    }

    /// A number that must be there.
    pub(crate) fn number(&mut self, name: &str) -> f64 {
        self.required(name, "a number", Value::as_f64)
            .unwrap_or_default()
    }

    /// A number, if there.
    pub(crate) fn optional_number(&mut self, name: &str) -> Option<f64> {
        self.optional(name, "a number", Value::as_f64)
    }

    /// A whole number, if there. One too large to count becomes the largest, which no rule allows.
    pub(crate) fn optional_integer(&mut self, name: &str) -> Option<i64> {
        self.optional(name, "a whole number", |value| {
            value
                .as_i64()
                .or_else(|| value.as_u64().map(|_| i64::MAX))
                .or_else(|| whole(value.as_f64()?))
        })
    }

    /// An object that must be there.
    pub(crate) fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        self.required(name, "an object", Value::as_object)
    }

    /// Says of a member that it cannot be read.
    pub(crate) fn unreadable(&mut self, name: &str, wanted: &str) {
        self.wrong_type(name, wanted);
    }

    /// Done reading. Wrong types come before missing members.
    pub(crate) fn finish(self) -> Result<(), BadFields> {
        if !self.types.is_empty() {
            return Err(BadFields::Types(self.types));
        }
        if !self.missing.is_empty() {
            return Err(BadFields::Missing(self.missing));
        }
        Ok(())
    }
}

/// `5.0` is a whole number to JSON; `5.5` is not.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a number beyond the range becomes its end"
)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{BadFields, Fields};

    fn read(value: &Value) -> Result<(), BadFields> {
        let mut fields = Fields::of(value.as_object().unwrap(), "");
        fields.text("name");
        fields.optional_integer("count");
        fields.finish()
    }

    #[test]
    fn wrong_types_and_missing_members_are_told_apart() {
        assert_eq!(
            read(&json!({"name": "x", "count": 5.0, "other": 1})),
            Ok(())
        );
        assert_eq!(read(&json!({"name": "x", "count": null})), Ok(()));
        assert!(matches!(read(&json!({})), Err(BadFields::Missing(_))));
        assert!(matches!(
            read(&json!({"name": null})),
            Err(BadFields::Types(_))
        ));
        assert!(matches!(
            read(&json!({"count": "5"})),
            Err(BadFields::Types(_))
        ));
        let Err(bad) = read(&json!({"name": 1, "count": 5.5})) else {
            panic!("both are wrong");
        };
        assert_eq!(bad.violations().len(), 2);
    }
}
