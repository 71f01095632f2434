//! Charts and a text as one page that needs no other file, no network and no script.

use std::fmt::Write;

use crate::draw::chart::Chart;
use crate::draw::svg;

const STYLE: &str = "\
body{margin:2rem auto;max-width:920px;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;color:#24292f;\
background:#fff}h1{font-size:1.4rem}pre{overflow-x:auto;padding:1rem;background:#f6f8fa;border-radius:6px;\
font:13px/1.4 ui-monospace,monospace}figure{margin:2rem 0}figure svg{max-width:100%;height:auto}\
@media (prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}}";

/// A page with a heading, a text as a terminal would show it, and the charts beneath.
pub fn html(title: &str, text: &str, charts: &[Chart]) -> String {
    let title = svg::escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<pre>{}</pre>\n",
        svg::escaped(text)
    );
    for chart in charts {
        let _ = writeln!(page, "<figure>{}</figure>", svg::figure(chart));
    }
    page.push_str("</body></html>\n");
    page
}
