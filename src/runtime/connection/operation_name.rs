/// The name of a stream's operation. Most are short, and take no memory of their own.
pub(super) struct OperationName(Name);

const SHORT: usize = 46;

enum Name {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl OperationName {
    pub fn new(name: &[u8]) -> OperationName {
        let mut bytes = [0; SHORT];
        OperationName(match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(name);
                Name::Short { len, bytes }
            }
            _ => Name::Long(name.into()),
        })
    }

    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Name::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Name::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_kept() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 256, 32_767] {
            let name: Vec<u8> = (0..len).map(|index| index as u8).collect();
            assert_eq!(OperationName::new(&name).as_slice(), name);
        }
    }
}
