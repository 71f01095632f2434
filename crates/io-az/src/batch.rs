//! Many deletions in one request: the body that asks for them and the answer to it, both in parts as of
//! an e-mail (`multipart/mixed`).
//! <https://learn.microsoft.com/rest/api/storageservices/blob-batch>

use crate::wire::error_of;
use forebay_io::Kind;
use forebay_io_object::Failure;
use std::fmt::Write;

/// Ends each part. The parts hold paths, dates and signatures, none of which begins a line with it.
const BOUNDARY: &str = "forebay-batch-0f1e2d3c";

/// The body of a request, part by part.
#[derive(Debug, Default)]
pub(crate) struct BatchBody {
    text: String,
    parts: usize,
}

impl BatchBody {
    /// Adds a deletion. `target` is path and query, escaped; `headers` are its own, authorisation included.
    pub(crate) fn push<'a>(&mut self, target: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) {
        // Writing to a `String` cannot fail.
        let _ = write!(
            self.text,
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
             Content-ID: {}\r\n\r\nDELETE {target} HTTP/1.1\r\n",
            self.parts
        );
        for (name, value) in headers {
            // The service is not everywhere indifferent to the case of a header's name.
            let _ = write!(self.text, "{}: {value}\r\n", titled(name));
        }
        self.text.push_str("\r\n\r\n");
        self.parts += 1;
    }

    /// The whole body, and its `Content-Type`.
    pub(crate) fn finish(mut self) -> (String, String) {
        let _ = write!(self.text, "--{BOUNDARY}--\r\n");
        (self.text, format!("multipart/mixed; boundary={BOUNDARY}"))
    }
}

fn titled(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|c| {
            let c = if begins { c.to_ascii_uppercase() } else { c };
            begins = c == '-';
            c
        })
        .collect()
}

/// What became of each of `parts` deletions.
///
/// # Errors
/// `Corrupt` where the answer does not name each exactly once.
pub(crate) fn read_answers(
    content_type: &str,
    body: &[u8],
    parts: usize,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let strange =
        |what: &str| Failure::new(Kind::Corrupt, format!("the answer to a batch makes no sense: {what}"));
    let boundary = content_type.split(';').find_map(|piece| {
        let (name, value) = piece.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    let boundary = boundary.filter(|b| !b.is_empty()).ok_or_else(|| strange("it has no boundary"))?;
    let text = String::from_utf8_lossy(body);
    let mut answers: Vec<Option<Result<(), Failure>>> = (0..parts).map(|_| None).collect();
    for part in text.split(&format!("--{boundary}")[..]).skip(1) {
        if part.starts_with("--") {
            break;
        }
        let mut lines = part.lines().map(str::trim);
        let head: Vec<&str> = lines.by_ref().skip(1).take_while(|line| !line.is_empty()).collect();
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        let status = status.ok_or_else(|| strange("a part without a status"))?;
        // A batch that is refused as a whole comes as one part without a number.
        let index = field(head.iter().copied(), "content-id").and_then(|id| id.parse::<usize>().ok());
        let fields: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let answer = if (200..300).contains(&status) {
            Ok(())
        } else {
            let said: String = lines.collect::<Vec<_>>().join("\n");
            let (code, message) = error_of(said.trim().as_bytes());
            let code = field(fields.iter().copied(), "x-ms-error-code").unwrap_or(&code).to_owned();
            Err(Failure::status(status, &code, &message, None))
        };
        match (index, answer) {
            (Some(index), answer) => {
                let place = answers.get_mut(index).ok_or_else(|| strange("it answers what was not asked"))?;
                if place.replace(answer).is_some() {
                    return Err(strange("it answers twice"));
                }
            }
            (None, Err(failure)) => return Err(failure),
            (None, Ok(())) => return Err(strange("a part without a number")),
        }
    }
    let all: Option<Vec<_>> = answers.into_iter().collect();
    all.ok_or_else(|| strange("not every deletion is answered"))
}

/// The value of a field among lines `Name: value`.
fn field<'a>(lines: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    lines.into_iter().find_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/mixed; boundary=batchresponse_1";
    const ANSWER: &str = "--batchresponse_1\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\n\
        HTTP/1.1 404 The specified blob does not exist.\r\nx-ms-error-code: BlobNotFound\r\n\r\n\
        <?xml version=\"1.0\"?>\n<Error><Code>BlobNotFound</Code><Message>Gone.\nTime:1</Message></Error>\r\n\
        --batchresponse_1\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\nServer: x\r\n\r\n--batchresponse_1--\r\n";

    #[test]
    fn answers_are_put_in_the_order_of_the_questions() {
        let answers = read_answers(TYPE, ANSWER.as_bytes(), 2).unwrap();
        assert!(answers[0].is_ok());
        let failure = answers[1].as_ref().unwrap_err();
        assert_eq!((failure.kind, failure.status), (Kind::NotFound, Some(404)));
        assert!(failure.said.contains("BlobNotFound") && failure.said.contains("Gone."), "{}", failure.said);
    }

    #[test]
    fn an_answer_that_leaves_something_out_is_corrupt() {
        for (content_type, body, parts) in [
            ("text/plain", ANSWER, 2),
            (TYPE, ANSWER, 3),
            (TYPE, ANSWER, 1),
            (TYPE, "", 1),
            (TYPE, "--batchresponse_1\r\nContent-ID: 0\r\n\r\nwhat\r\n", 1),
        ] {
            let failure = read_answers(content_type, body.as_bytes(), parts).unwrap_err();
            assert_eq!(failure.kind, Kind::Corrupt, "{body}");
        }
        let refused = "--batchresponse_1\r\n\r\nHTTP/1.1 403 No\r\n\r\n--batchresponse_1--";
        assert_eq!(read_answers(TYPE, refused.as_bytes(), 2).unwrap_err().kind, Kind::Denied);
    }

    #[test]
    fn each_deletion_is_a_part_with_its_number() {
        let mut body = BatchBody::default();
        body.push("/c/a?sig=1", [("date", "now")]);
        body.push("/c/b", [("date", "now")]);
        let (text, content_type) = body.finish();
        let boundary = content_type.rsplit('=').next().unwrap();
        assert_eq!(text.matches(&format!("--{boundary}\r\n")).count(), 2);
        assert!(text.contains("Content-ID: 1\r\n\r\nDELETE /c/b HTTP/1.1\r\nDate: now\r\n"), "{text}");
        assert!(text.ends_with(&format!("--{boundary}--\r\n")));
        assert_eq!(titled("x-ms-date"), "X-Ms-Date");
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in "(--batchresponse_1|\r\n|Content-ID: [0-9]|HTTP/1.1 [0-9]{3}|[a-z]){0,20}") {
            let _ = read_answers(TYPE, body.as_bytes(), 3);
        }
    }
}
