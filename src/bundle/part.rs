//! A part of a bundle, as an archive of its own: for a server that has the rest.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

use flate2::bufread::GzDecoder;

use super::{
    archive::{Form, Kind, Reader, Writer},
    pace::{Pace, from_io, into_io},
    pack::{self, Packed},
};
use crate::{
    domain::{Failure, bundle::MANIFEST_PATH},
    errors::general,
};

/// Writes the folders, the links and the `wanted` files of a bundle in the canonical form to the new file `to`, in that form. The manifest stays
/// out. `pace` counts bytes of the unpacked files.
pub fn write(bundle: &Path, wanted: impl Fn(&str) -> bool, to: &Path, pace: &Pace) -> Result<Packed, Failure> {
    let failed = |error| from_io(error, |error| general::runner_file(format!("writing {}", to.display()), error));
    copy(bundle, wanted, to, pace).map_err(failed)
}

fn copy(bundle: &Path, wanted: impl Fn(&str) -> bool, to: &Path, pace: &Pace) -> io::Result<Packed> {
    let mut reader = Reader::new(GzDecoder::new(BufReader::new(File::open(bundle)?)), Form::Canonical);
    let mut writer = Writer::new(pack::compressed(File::create_new(to)?)?);
    while let Some(entry) = reader.next()? {
        pace.advance(entry.size).map_err(into_io)?;
        match &entry.kind {
            Kind::Folder => writer.folder(&entry.path)?,
            Kind::Link { target } => writer.link(&entry.path, target)?,
            Kind::File if entry.path != MANIFEST_PATH && wanted(&entry.path) => {
                writer.file(&entry.path, entry.executable(), entry.size, &mut reader.by_ref())?;
            }
            Kind::File => {}
        }
    }
    pack::finished(writer.finish()?.0)
}
