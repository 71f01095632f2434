//! Parquet row groups, written by the `parquet` crate.

use crate::fixture::{load, of, root, runtime, samples, store};
use bytes::Bytes;
use forebay_io::Kind;
use forebay_loader::{Dataset, Format};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

/// A file with a row group for each of `groups`.
pub(crate) fn file(groups: &[Vec<(i64, String)>]) -> Vec<u8> {
    let schema = "message m { required int64 id; required binary uri (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.0).collect();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts: Vec<_> = rows.iter().map(|row| ByteArray::from(row.1.as_str())).collect();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn a_row_group_is_a_file_of_its_own_again() {
    let runtime = runtime();
    let groups: Vec<Vec<_>> = (0..4)
        .map(|g| (0..50 * (g + 1)).map(|i| (g * 1000 + i, format!("text {}", i % 7))).collect())
        .collect();
    let shards = [("a.parquet", file(&groups[..3])), ("b.parquet", file(&groups[3..]))];
    let store = runtime.block_on(store(&shards));
    let open = || runtime.block_on(Dataset::open(&*store, &root(), of(Format::Parquet))).unwrap();
    let (dataset, read) = (open(), load(&runtime, store.clone(), open()));
    assert_eq!(read.len(), 4);
    for (id, bytes) in read.iter().enumerate() {
        let whole = dataset.row_group_file(id as u64, bytes).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(whole)).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                use parquet::record::RowAccessor;
                let row = row.unwrap();
                (row.get_long(0).unwrap(), row.get_string(1).unwrap().clone())
            })
            .collect();
        assert_eq!(rows, groups[id], "row group {id}");
    }
}

#[test]
fn what_is_no_parquet_is_named() {
    let good = file(&[vec![(1, "a".to_owned())]]);
    let mut wrong_end = good.clone();
    *wrong_end.last_mut().unwrap() = b'2';
    let mut wrong_footer = good.clone();
    let at = good.len() - 8;
    wrong_footer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (bytes, why) in [
        (wrong_end, "expected PAR1, found \"PAR2\""),
        (wrong_footer, "expected a footer inside the file"),
        (vec![0; 3], "expected the end of a Parquet file of 8 bytes"),
    ] {
        let error = samples(Format::Parquet, bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// As PyArrow writes a table without rows: one row group, without pages.
fn without_rows() -> Vec<u8> {
    let bytes = file(&[vec![]]);
    let footer =
        bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[footer..bytes.len() - 8]).unwrap();
    let mut metadata = metadata.into_builder();
    let groups = metadata.take_row_groups().into_iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder().set_data_page_offset(0).set_total_compressed_size(0);
            column.build().unwrap()
        });
        group.clone().into_builder().set_column_metadata(columns.collect()).build().unwrap()
    });
    let metadata = metadata.set_row_groups(groups.collect()).build();
    let mut out = b"PAR1".to_vec();
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    out.extend(footer);
    out
}

#[test]
fn a_row_group_without_rows_is_no_sample() {
    let runtime = runtime();
    let rows = file(&[vec![], vec![(1, "a".to_owned())]]);
    let store = runtime.block_on(store(&[("a.parquet", without_rows()), ("b.parquet", rows)]));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), of(Format::Parquet))).unwrap();
    assert_eq!((dataset.len(), dataset.objects()), (1, 2));
    let error = samples(Format::Parquet, without_rows()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}
