//! A chart as SVG: lines over logarithmic axes, on which a constant shows as a level line.

use maud::html;

/// One line of a chart.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// A point of a line; all its values are above 0.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// The ends of its spread, which is drawn as a thin bar.
    pub(crate) spread: (f64, f64),
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 400.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that are distinct to colour-blind readers too (Okabe and Ito 2008).
const COLOURS: [&str; 8] =
    ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"];

fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return (0, 1);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a few decades")]
    let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (low, high.max(low + 1))
}

/// A power of ten for a person.
fn power(n: i32, unit: &str) -> String {
    match unit {
        "s" if n < -3 => format!("{} µs", 10f64.powi(n + 6)),
        "s" if n < 0 => format!("{} ms", 10f64.powi(n + 3)),
        "s" => format!("{} s", 10f64.powi(n)),
        _ => {
            let text = 10f64.powi(n).to_string();
            if n < 6 { text } else { format!("10^{n}") }
        }
    }
}

/// Draws the chart; `y` is in seconds.
pub(crate) fn draw(title: &str, x_axis: &str, series: &[Series]) -> String {
    let all = || series.iter().flat_map(|s| s.points.iter().copied());
    let (x0, x1) = decades(all().map(|p| p.x));
    let (y0, y1) = decades(all().flat_map(|p| [p.y, p.spread.0, p.spread.1]));
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |v: f64| LEFT + (v.log10() - f64::from(x0)) / f64::from(x1 - x0) * inner_width;
    let y = |v: f64| {
        TOP + inner_height - (v.log10() - f64::from(y0)) / f64::from(y1 - y0) * inner_height
    };
    let at = |v: f64| format!("{v:.1}");
    let line = |points: &[Point]| -> String {
        points.iter().map(|p| format!("{:.1},{:.1} ", x(p.x), y(p.y))).collect()
    };
    let view = format!("0 0 {WIDTH} {HEIGHT}");
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(view)
            font-family="sans-serif" font-size="12" {
            rect width="100%" height="100%" fill="white" {}
            text x=(at(LEFT)) y="22" font-size="15" { (title) }
            @for n in y0..=y1 {
                @let py = at(y(10f64.powi(n)));
                line x1=(at(LEFT)) x2=(at(LEFT + inner_width)) y1=(py) y2=(py) stroke="#dddddd" {}
                text x=(at(LEFT - 8.0)) y=(py) text-anchor="end" dominant-baseline="middle" {
                    (power(n, "s"))
                }
            }
            @for n in x0..=x1 {
                @let px = at(x(10f64.powi(n)));
                line x1=(px) x2=(px) y1=(at(TOP)) y2=(at(TOP + inner_height)) stroke="#eeeeee" {}
                text x=(px) y=(at(TOP + inner_height + 18.0)) text-anchor="middle" {
                    (power(n, ""))
                }
            }
            text x=(at(LEFT + inner_width / 2.0)) y=(at(HEIGHT - 10.0)) text-anchor="middle" {
                (x_axis)
            }
            @for (n, s) in series.iter().enumerate() {
                @let colour = COLOURS[n % COLOURS.len()];
                @let dash = if n < COLOURS.len() { "none" } else { "5 3" };
                polyline points=(line(&s.points)) fill="none"
                    stroke=(colour) stroke-width="2" stroke-dasharray=(dash) {}
                @for p in &s.points {
                    @let (px, low, high) = (at(x(p.x)), at(y(p.spread.0)), at(y(p.spread.1)));
                    line x1=(px) x2=(px) y1=(low) y2=(high) stroke=(colour) stroke-width="1" {}
                    circle cx=(px) cy=(at(y(p.y))) r="3" fill=(colour) {}
                }
                @let ly = TOP + 10.0 + n as f64 * 19.0;
                line x1=(at(LEFT + inner_width + 15.0)) x2=(at(LEFT + inner_width + 35.0))
                    y1=(at(ly)) y2=(at(ly))
                    stroke=(colour) stroke-width="2" stroke-dasharray=(dash) {}
                text x=(at(LEFT + inner_width + 41.0)) y=(at(ly)) dominant-baseline="middle" {
                    (s.name)
                }
            }
        }
    }
    .into_string()
}
