//! One aggregate and one accumulator for all statistics of a group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::answer;
use super::arguments::{Kind, Parameter, coerced, constant, failure};
use crate::sql::stats::{self, Mode, StatsError};

/// Which statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Statistic {
    PairedTest,
    PermTest,
    BootstrapCi,
    MannWhitney,
    HodgesLehmann,
    TheilSen,
    Mad,
    ChangePoints,
}

const fn parameter(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind }
}

impl Statistic {
    pub(super) const ALL: [Statistic; 8] = [
        Statistic::PairedTest,
        Statistic::PermTest,
        Statistic::BootstrapCi,
        Statistic::MannWhitney,
        Statistic::HodgesLehmann,
        Statistic::TheilSen,
        Statistic::Mad,
        Statistic::ChangePoints,
    ];

    /// The name, the arguments and how many of the last ones can be left out.
    fn call(self) -> (&'static str, &'static [Parameter], usize) {
        use Kind::{Number, Numbers, Text, Texts, Whole};
        const PAIRED_TEST: &[Parameter] = &[
            parameter("base", Numbers),
            parameter("cand", Numbers),
            parameter("direction", Numbers),
            parameter("label", Texts),
        ];
        const PERM_TEST: &[Parameter] =
            &[parameter("base", Numbers), parameter("cand", Numbers), parameter("seed", Whole)];
        const BOOTSTRAP_CI: &[Parameter] =
            &[parameter("value", Numbers), parameter("level", Number), parameter("seed", Whole)];
        const TWO_SIDES: &[Parameter] = &[parameter("value", Numbers), parameter("side", Texts)];
        const THEIL_SEN: &[Parameter] = &[parameter("x", Numbers), parameter("y", Numbers)];
        const MAD: &[Parameter] = &[parameter("value", Numbers)];
        const CHANGE_POINTS: &[Parameter] = &[
            parameter("value", Numbers),
            parameter("seq", Numbers),
            parameter("window", Whole),
            parameter("p", Number),
            parameter("min_rel", Number),
            parameter("mode", Text),
        ];
        match self {
            Statistic::PairedTest => ("paired_test", PAIRED_TEST, 1),
            Statistic::PermTest => ("perm_test", PERM_TEST, 0),
            Statistic::BootstrapCi => ("bootstrap_ci", BOOTSTRAP_CI, 0),
            Statistic::MannWhitney => ("mann_whitney", TWO_SIDES, 0),
            Statistic::HodgesLehmann => ("hodges_lehmann", TWO_SIDES, 0),
            Statistic::TheilSen => ("theil_sen", THEIL_SEN, 0),
            Statistic::Mad => ("mad", MAD, 0),
            Statistic::ChangePoints => ("change_points", CHANGE_POINTS, 2),
        }
    }

    fn name(self) -> &'static str {
        self.call().0
    }

    /// How many numbers of each row are kept.
    fn kept_count(self) -> usize {
        match self {
            Statistic::PairedTest => 3,
            Statistic::BootstrapCi | Statistic::Mad => 1,
            _ => 2,
        }
    }

    fn answer_type(self) -> DataType {
        match self {
            Statistic::PairedTest | Statistic::PermTest => answer::paired_test_type(),
            Statistic::BootstrapCi => answer::bootstrap_type(),
            Statistic::MannWhitney => answer::mann_whitney_type(),
            Statistic::TheilSen => answer::theil_sen_type(),
            Statistic::HodgesLehmann | Statistic::Mad => DataType::Float64,
            Statistic::ChangePoints => answer::change_points_type(),
        }
    }
}

/// A statistic as an aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Aggregate {
    statistic: Statistic,
    signature: Signature,
}

impl Aggregate {
    pub(super) fn new(statistic: Statistic) -> Self {
        let names = statistic.call().1.iter().map(|parameter| parameter.name).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        let signature =
            signature.with_parameter_names(names).expect("invariant: no two parameters share a name");
        Aggregate { statistic, signature }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.statistic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (name, parameters, optional_count) = self.statistic.call();
        coerced(name, parameters, optional_count, given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.answer_type())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |idx: usize| -> FieldRef {
            let name = format_state_name(args.name, &format!("values_{idx}"));
            Arc::new(Field::new(name, DataType::List(number_item()), true))
        };
        let mut fields: Vec<FieldRef> = (0..self.statistic.kept_count()).map(field).collect();
        let label = format_state_name(args.name, "label");
        fields.push(Arc::new(Field::new(label, DataType::Utf8, true)));
        Ok(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let name = self.statistic.name();
        if args.is_distinct {
            return plan_err!("`{name}` has DISTINCT, expected all values");
        }
        Ok(Box::new(Kept {
            statistic: self.statistic,
            settings: Settings::read(self.statistic, &args)?,
            columns: vec![Vec::new(); self.statistic.kept_count()],
            label: None,
        }))
    }
}

/// The constant arguments; those that a statistic does not have are not read.
#[derive(Debug, Default)]
struct Settings {
    level: f64,
    seed: u64,
    window: usize,
    p: f64,
    min_rel: f64,
    mode: Mode,
}

impl Settings {
    fn read(statistic: Statistic, args: &AccumulatorArgs) -> Result<Self> {
        let (function, parameters, _) = statistic.call();
        let mut settings = Settings::default();
        for (idx, Parameter { name, kind }) in parameters.iter().enumerate() {
            if matches!(kind, Kind::Numbers | Kind::Texts) {
                continue;
            }
            let Some(value) = constant(function, parameters, idx, args.exprs, args.schema)? else { continue };
            match (*name, value) {
                ("level", ScalarValue::Float64(Some(level))) => settings.level = level,
                ("p", ScalarValue::Float64(Some(p))) => settings.p = p,
                ("min_rel", ScalarValue::Float64(Some(min_rel))) => settings.min_rel = min_rel,
                // All 64 bits are a seed.
                ("seed", ScalarValue::Int64(Some(seed))) => settings.seed = seed.cast_unsigned(),
                ("window", ScalarValue::Int64(Some(window))) => {
                    settings.window = usize::try_from(window).unwrap_or_default();
                }
                ("mode", ScalarValue::Utf8(Some(text))) => match Mode::parse(&text) {
                    Some(mode) => settings.mode = mode,
                    None => {
                        return plan_err!("`{function}` has mode '{text}', expected 'default' or 'otava'");
                    }
                },
                (name, value) => return plan_err!("`{function}` has {name} = {value}, expected a constant"),
            }
        }
        Ok(settings)
    }
}

/// Keeps the numbers of a group; a missing one is kept as one that is no number.
#[derive(Debug)]
struct Kept {
    statistic: Statistic,
    settings: Settings,
    /// Columns of equal length.
    columns: Vec<Vec<f64>>,
    /// Smallest of the labels, so that it does not depend on the order of rows.
    label: Option<String>,
}

/// How the sides of unpaired groups are kept.
const BASE: f64 = 0.0;
const CAND: f64 = 1.0;

impl Kept {
    fn add_label(&mut self, labels: &ArrayRef) {
        let smallest = labels.as_string::<i32>().iter().flatten().min();
        if let Some(label) = smallest
            && self.label.as_deref().is_none_or(|known| label < known)
        {
            self.label = Some(label.to_owned());
        }
    }

    fn pairs(&self) -> Vec<(f64, f64)> {
        self.columns[0].iter().copied().zip(self.columns[1].iter().copied()).collect()
    }

    fn side(&self, side: f64) -> Vec<f64> {
        // A value without side stays in as a missing one, so that it is counted.
        let of = |(value, of): (f64, f64)| {
            if of.is_nan() { (side == BASE).then_some(f64::NAN) } else { (of == side).then_some(value) }
        };
        self.pairs().into_iter().filter_map(of).collect()
    }

    /// The one direction of the group.
    fn direction(&self) -> Result<i8> {
        let mut directions = self.columns[2].iter().filter(|direction| !direction.is_nan());
        let Some(first) = directions.next() else { return Err(failure("`paired_test` has no direction")) };
        match directions.find(|direction| *direction != first) {
            Some(other) => Err(failure(format!(
                "`paired_test` has the directions {first} and {other} in one group, expected one"
            ))),
            // Anything but -1 and 1 is refused by the test.
            None => Ok(if first.abs() == 1.0 { *first as i8 } else { 0 }),
        }
    }

    fn points(&self) -> Result<Vec<(u32, f64)>> {
        let mut points = Vec::with_capacity(self.columns[0].len());
        for (value, seq) in self.pairs().into_iter().filter(|(_, seq)| !seq.is_nan()) {
            if seq.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&seq) {
                return Err(failure(format!(
                    "`change_points` has seq = {seq}, expected a whole number of 32 bits"
                )));
            }
            points.push((seq as u32, value));
        }
        Ok(points)
    }

    /// The answer; `None` if there is nothing to compute from.
    fn answer(&self) -> Result<Option<ScalarValue>> {
        let Settings { level, seed, window, p, min_rel, mode } = self.settings;
        let fault = |error: StatsError| match &self.label {
            Some(label) => failure(format!("{error}, in `{label}`")),
            None => failure(error.to_string()),
        };
        let found = match self.statistic {
            Statistic::PairedTest | Statistic::PermTest => {
                let pairs = self.pairs();
                if pairs.iter().all(|(base, cand)| base.is_nan() || cand.is_nan()) {
                    return Ok(None);
                }
                let test = match self.statistic {
                    Statistic::PairedTest => stats::paired_test(&pairs, self.direction()?),
                    _ => stats::perm_test(&pairs, seed),
                };
                Some(answer::paired_test(test.map_err(fault)?))
            }
            Statistic::BootstrapCi => {
                let values = &self.columns[0];
                let dropped_count = values.iter().filter(|value| value.is_nan()).count() as u32;
                let interval = stats::bootstrap_ci(values, level, seed).map_err(fault)?;
                interval.map(|interval| answer::bootstrap(interval, dropped_count))
            }
            Statistic::MannWhitney => {
                let test = stats::mann_whitney(&self.side(BASE), &self.side(CAND)).map_err(fault)?;
                test.map(answer::mann_whitney)
            }
            Statistic::HodgesLehmann => {
                let shift = stats::hodges_lehmann(&self.side(BASE), &self.side(CAND)).map_err(fault)?;
                shift.map(|shift| Ok(ScalarValue::from(shift)))
            }
            Statistic::TheilSen => stats::theil_sen(&self.pairs()).map_err(fault)?.map(answer::theil_sen),
            Statistic::Mad => {
                if let Some(value) = self.columns[0].iter().find(|value| value.is_infinite()) {
                    return Err(fault(StatsError::Infinite { function: "mad", value: *value }));
                }
                stats::mad(&self.columns[0]).map(|mad| Ok(ScalarValue::from(mad)))
            }
            Statistic::ChangePoints => {
                let points =
                    stats::change_points(&self.points()?, window, p, min_rel, mode).map_err(fault)?;
                Some(answer::change_points(&points))
            }
        };
        found.transpose()
    }
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (column, values) in self.columns.iter_mut().zip(values) {
            match values.data_type() {
                DataType::Float64 => append(column, values.as_primitive::<Float64Type>()),
                _ => append_sides(self.statistic.name(), column, values)?,
            }
        }
        if let (Statistic::PairedTest, Some(labels)) = (self.statistic, values.get(3)) {
            self.add_label(labels);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.answer()?.map_or_else(|| ScalarValue::try_from(&self.statistic.answer_type()), Ok)
    }

    fn size(&self) -> usize {
        let numbers: usize = self.columns.iter().map(Vec::capacity).sum();
        size_of_val(self) + numbers * size_of::<f64>() + self.label.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: &mut Vec<f64>| {
            let values = Float64Array::from(std::mem::take(column));
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            let list = ListArray::try_new(number_item(), offsets, Arc::new(values), None)?;
            Ok(ScalarValue::List(Arc::new(list)))
        };
        let mut state: Vec<ScalarValue> = self.columns.iter_mut().map(list).collect::<Result<_>>()?;
        state.push(ScalarValue::Utf8(self.label.take()));
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (column, lists) in self.columns.iter_mut().zip(states) {
            for values in lists.as_list::<i32>().iter().flatten() {
                append(column, values.as_primitive::<Float64Type>());
            }
        }
        if let Some(labels) = states.get(self.statistic.kept_count()) {
            self.add_label(labels);
        }
        Ok(())
    }
}

fn number_item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float64, true))
}

fn append(column: &mut Vec<f64>, values: &Float64Array) {
    if values.null_count() == 0 {
        column.extend_from_slice(values.values());
    } else {
        column.extend(values.iter().map(|value| value.unwrap_or(f64::NAN)));
    }
}

fn append_sides(function: &str, column: &mut Vec<f64>, sides: &ArrayRef) -> Result<()> {
    for side in sides.as_string::<i32>() {
        column.push(match side {
            None => f64::NAN,
            Some("base") => BASE,
            Some("cand") => CAND,
            Some(other) => {
                return Err(failure(format!(
                    "`{function}` has the side '{other}', expected 'base' or 'cand'"
                )));
            }
        });
    }
    Ok(())
}
