//! Figures as pictures in SVG. Scales are worked out here, and the drawing is left to plotters.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

/// A plot that could not be drawn, and why.
#[derive(Debug, thiserror::Error)]
#[error("a plot cannot be drawn: {0}")]
pub struct PlotError(String);

/// A picture of figures.
#[derive(Clone, Debug)]
pub enum Plot {
    /// Points joined by lines.
    Lines {
        /// What it shows.
        title: String,
        /// Across.
        x: Axis,
        /// Upwards.
        y: Axis,
        /// The lines.
        series: Vec<Series>,
    },
    /// A bar a name.
    Bars {
        /// What it shows.
        title: String,
        /// What a bar's length is.
        label: String,
        /// Name and length.
        bars: Vec<(String, f64)>,
    },
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Whether each point is marked.
    pub marked: bool,
}

impl Series {
    /// A line through points that were each measured.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            points,
            marked: true,
        }
    }
}

/// One axis of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it counts.
    pub label: String,
    /// How.
    pub scale: Scale,
}

impl Axis {
    /// An axis.
    pub fn new(label: &str, scale: Scale) -> Self {
        Self {
            label: label.to_owned(),
            scale,
        }
    }
}

/// How an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, in equal steps.
    Linear,
    /// In tens.
    Log,
    /// In doublings.
    Log2,
    /// Shares from 0 to 1, each nine as wide as the one before.
    Percentile,
}

/// Told apart in print and by the colour-blind.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(213, 94, 0),
    RGBColor(0, 140, 105),
    RGBColor(170, 68, 153),
    RGBColor(120, 94, 20),
    RGBColor(60, 160, 220),
    RGBColor(200, 40, 60),
    RGBColor(90, 90, 90),
];

/// The colours of a plot's lines, in their order.
fn colours() -> impl Iterator<Item = RGBColor> {
    COLOURS.iter().copied().cycle()
}

/// Name and colour of each line, to stand beside the plot: within, it would hide something.
pub fn key(series: &[Series]) -> Vec<(&str, String)> {
    let hex = |RGBColor(red, green, blue)| format!("#{red:02x}{green:02x}{blue:02x}");
    let names = series.iter().map(|s| s.name.as_str());
    names.zip(colours().map(hex)).collect()
}

const INK: RGBColor = RGBColor(60, 70, 85);
const GRID: RGBColor = RGBColor(227, 231, 236);
const SIZE: (u32, u32) = (640, 380);
/// plotters takes sizes a quarter larger than browsers do.
const FONT: (&str, u32) = ("sans-serif", 17);

/// The plot as an SVG document. Its key is left to the page ([`key`]), unless it is `alone`.
///
/// # Errors
///
/// When plotters fails, which no figures give reason for.
pub fn svg(plot: &Plot, alone: bool) -> Result<String, PlotError> {
    let mut svg = String::new();
    let drawn = match plot {
        Plot::Lines { x, y, series, .. } => lines(&mut svg, x, y, series, alone),
        Plot::Bars { label, bars, .. } => self::bars(&mut svg, label, bars),
    };
    drawn.map_err(|error| PlotError(error.to_string()))?;
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn lines(svg: &mut String, x: &Axis, y: &Axis, series: &[Series], alone: bool) -> Drawn {
    let all = || series.iter().flat_map(|s| &s.points);
    let across = Ruler::new(x.scale, all().map(|p| p.0));
    let up = Ruler::new(y.scale, all().map(|p| p.1));
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(22)
        .x_label_area_size(50)
        .y_label_area_size(76)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT.0, FONT.1, &INK))
        .axis_desc_style((FONT.0, FONT.1 + 1, &INK))
        .x_desc(&x.label)
        .y_desc(&y.label)
        .draw()?;
    for (series, colour) in series.iter().zip(colours()) {
        let place = |&(a, b): &(f64, f64)| (x.scale.place(a), y.scale.place(b));
        let points: Vec<(f64, f64)> = series.points.iter().map(place).collect();
        let line = LineSeries::new(points, colour.stroke_width(2));
        let size = if series.marked { 3 } else { 0 };
        let drawn = chart.draw_series(line.point_size(size))?;
        if alone {
            drawn.label(&series.name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3))
            });
        }
    }
    if alone {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT.0, FONT.1, &INK))
            .background_style(WHITE)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

fn bars(svg: &mut String, label: &str, bars: &[(String, f64)]) -> Drawn {
    let along = Ruler::new(Scale::Linear, bars.iter().map(|(_, length)| *length));
    // From the top down, while the axis counts upwards.
    let height = bars.len() as f64;
    let middle = |i: usize| height - i as f64 - 0.5;
    let names = bars.iter().enumerate();
    let up = Ruler {
        low: 0.0,
        high: height,
        ticks: names
            .map(|(i, (name, _))| (middle(i), name.clone()))
            .collect(),
    };
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(22)
        .x_label_area_size(50)
        .y_label_area_size(150)
        .build_cartesian_2d(along, up)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT.0, FONT.1, &INK))
        .axis_desc_style((FONT.0, FONT.1 + 1, &INK))
        .x_desc(label)
        .draw()?;
    chart.draw_series(bars.iter().enumerate().map(|(i, (_, length))| {
        let at = middle(i);
        let corners = [(0.0, at - 0.32), (*length, at + 0.32)];
        Rectangle::new(corners, COLOURS[0].filled())
    }))?;
    area.present()?;
    Ok(())
}

impl Scale {
    /// Where a figure stands on the axis.
    fn place(self, figure: f64) -> f64 {
        match self {
            Self::Linear => figure,
            Self::Log => figure.max(1e-6).log10(),
            Self::Log2 => figure.max(1e-6).log2(),
            Self::Percentile => -(1.0 - figure).max(1e-9).log10(),
        }
    }

    /// What stands at a place.
    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => plain(place),
            Self::Log => plain(10f64.powf(place)),
            Self::Log2 => plain(2f64.powf(place)),
            Self::Percentile => {
                let share = 100.0 * (1.0 - 10f64.powf(-place));
                format!("{} %", (share * 1000.0).round() / 1000.0)
            }
        }
    }
}

/// An axis with its ends and its marks, in places.
struct Ruler {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Ruler {
    fn new(scale: Scale, figures: impl Iterator<Item = f64>) -> Self {
        let places = figures.map(|figure| scale.place(figure));
        let places: Vec<f64> = places.filter(|place| place.is_finite()).collect();
        let lowest = places.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let highest = places.iter().copied().reduce(f64::max).unwrap_or(1.0);
        let (low, high, ticks) = match scale {
            Scale::Linear => linear(lowest, highest),
            Scale::Log | Scale::Log2 => {
                let low = lowest.floor();
                let high = highest.max(low + 1.0);
                let steps = (high - low).floor() as usize;
                (low, high, (0..=steps).map(|n| low + n as f64).collect())
            }
            Scale::Percentile => {
                let high = highest.max(1.0);
                let nines = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
                let ticks = nines.into_iter().map(|share| scale.place(share));
                (0.0, high, ticks.filter(|&t| t <= high + 1e-9).collect())
            }
        };
        let label = |place: f64| (place, scale.label(place));
        Self {
            low,
            high,
            ticks: ticks.into_iter().map(label).collect(),
        }
    }
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (place - self.low) / (self.high - self.low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, place: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == place);
        tick.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Ends and marks of an axis from 0 (or below) in steps of 1, 2 or 5, to a little beyond the longest.
fn linear(lowest: f64, highest: f64) -> (f64, f64, Vec<f64>) {
    let low = lowest.min(0.0);
    let high = if highest > low { highest } else { low + 1.0 };
    let rough = (high - low) / 6.0;
    let ten = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * ten >= rough);
    let step = factor.unwrap_or(10.0) * ten;
    let high = high + (high - low) * 0.06;
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    let ticks = (first..=last).map(|n| n as f64 * step).collect();
    (low, high, ticks)
}

/// A figure to three digits or so, thousands apart.
pub fn number(figure: f64) -> String {
    match figure.abs() {
        x if x >= 100.0 => thousands(figure.round()),
        x if x >= 10.0 => format!("{figure:.1}"),
        x if x >= 1.0 => format!("{figure:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{figure:.3}"),
    }
}

fn thousands(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut out = String::from(if figure < 0.0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// As [`number`], without digits that say nothing on an axis.
fn plain(figure: f64) -> String {
    match figure.abs() {
        x if x >= 100.0 => number(figure),
        _ => format!("{}", (figure * 1e4).round() / 1e4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, figures: &[f64]) -> Vec<String> {
        let ruler = Ruler::new(scale, figures.iter().copied());
        ruler.ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn axes_are_marked_at_round_figures() {
        assert_eq!(
            labels(Scale::Linear, &[3.0, 47.0]),
            ["0", "10", "20", "30", "40"]
        );
        assert_eq!(
            labels(Scale::Linear, &[0.09]),
            ["0", "0.02", "0.04", "0.06", "0.08"]
        );
        assert_eq!(
            labels(Scale::Log, &[1.0, 5000.0]),
            ["1", "10", "100", "1,000"]
        );
        assert_eq!(
            labels(Scale::Log2, &[1.0, 4.0, 16.0]),
            ["1", "2", "4", "8", "16"]
        );
        assert_eq!(
            labels(Scale::Percentile, &[0.0, 0.995]),
            ["0 %", "50 %", "90 %", "99 %"]
        );
    }

    #[test]
    fn nothing_and_one_point_can_be_drawn() {
        let axis = |scale| Axis::new("x", scale);
        for points in [vec![], vec![(1.0, 0.0)], vec![(1.0, 2.0), (64.0, 3.0)]] {
            for scale in [Scale::Linear, Scale::Log, Scale::Log2] {
                let plot = Plot::Lines {
                    title: "t".into(),
                    x: axis(scale),
                    y: axis(Scale::Linear),
                    series: vec![Series::new("a", points.clone()), Series::new("b", vec![])],
                };
                for alone in [false, true] {
                    assert!(svg(&plot, alone).unwrap().starts_with("<svg "));
                }
            }
        }
        let bars = |bars| Plot::Bars {
            title: "t".into(),
            label: "l".into(),
            bars,
        };
        assert!(svg(&bars(vec![("a".into(), 0.0)]), false).is_ok());
        assert!(svg(&bars(vec![("a".into(), 0.5), ("b".into(), 0.1)]), false).is_ok());
    }
}
