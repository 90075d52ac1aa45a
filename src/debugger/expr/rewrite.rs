//! What is done to an expression so that CEL can read and evaluate it.

use super::value::FIELDS;
use super::{AskedModule, FUNCTIONS, names};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use tr::tr;

/// Functions that know the run, with how many arguments they take.
const OF_THE_RUN: [(&str, std::ops::RangeInclusive<usize>); 6] =
    [("embed", 1..=1), ("at", 2..=2), ("of", 2..=3), ("alpha_bar", 1..=1), ("t", 1..=1), ("lora", 1..=1)];

/// Makes of an expression what CEL can evaluate: calls of functions that know the run become indices, and of a number and a
/// tensor the tensor comes first, as CEL asks the left operand and its numbers know no tensors.
pub(super) fn rewrite(expression: &mut IdedExpr, modules: &mut Vec<AskedModule>) -> Result<(), String> {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().try_for_each(|target| rewrite(target, modules))?;
            call.args.iter_mut().try_for_each(|argument| rewrite(argument, modules))?;
            let known = OF_THE_RUN.iter().find(|(name, _)| *name == call.func_name && call.target.is_none());
            if let Some((name, count)) = known {
                if !count.contains(&call.args.len()) {
                    let usage = FUNCTIONS.iter().filter(|(usage, _)| usage.starts_with(&format!("{name}(")));
                    let usage: Vec<&str> = usage.map(|(usage, _)| *usage).collect();
                    return Err(tr!("{name} is called as {}", usage.join(" or "), name));
                }
                if *name == "t" {
                    modules.extend(asked(&call.args[0].expr));
                }
                *expression = indexed(expression.id, name, std::mem::take(&mut call.args));
                return Ok(());
            }
            let [left, right] = &call.args[..] else { return Ok(()) };
            if !is_number(&left.expr) || is_number(&right.expr) {
                return Ok(());
            }
            match call.func_name.as_str() {
                operators::MULTIPLY | operators::ADD => call.args.reverse(),
                // a − t is −(t − a).
                operators::SUBSTRACT => {
                    call.args.reverse();
                    let id = expression.id;
                    let difference = std::mem::take(expression);
                    let args = vec![difference];
                    let negated = CallExpr { func_name: operators::NEGATE.into(), target: None, args };
                    *expression = IdedExpr { id, expr: Expr::Call(negated) };
                }
                _ => {}
            }
            Ok(())
        }
        Expr::Select(select) => rewrite(&mut select.operand, modules),
        Expr::List(list) => list.elements.iter_mut().try_for_each(|element| rewrite(element, modules)),
        Expr::Comprehension(of) => {
            let parts =
                [&mut of.iter_range, &mut of.accu_init, &mut of.loop_cond, &mut of.loop_step, &mut of.result];
            parts.into_iter().try_for_each(|part| rewrite(part, modules))
        }
        _ => Ok(()),
    }
}

/// The module that an argument of `t` names; `None` where that is only known when it is evaluated.
fn asked(argument: &Expr) -> Option<AskedModule> {
    match argument {
        Expr::Ident(name) if name == "path" => Some(AskedModule::Here),
        Expr::Literal(LiteralValue::String(path)) => Some(AskedModule::Named(path.inner().to_string())),
        _ => None,
    }
}

/// `name[a][b]` of `name(a, b)`.
fn indexed(id: u64, name: &str, arguments: Vec<IdedExpr>) -> IdedExpr {
    let function = IdedExpr { id, expr: Expr::Ident(name.into()) };
    arguments.into_iter().fold(function, |of, argument| {
        let args = vec![of, argument];
        IdedExpr { id, expr: Expr::Call(CallExpr { func_name: operators::INDEX.into(), target: None, args }) }
    })
}

/// Whether an expression is a number, whatever the run.
fn is_number(expression: &Expr) -> bool {
    const OF_TENSORS: [&str; 4] = ["norm", "max_abs", "cos", "psnr"];
    match expression {
        Expr::Literal(_) => true,
        Expr::Ident(name) => names::is_plain(name),
        Expr::Select(select) => FIELDS.split(", ").any(|field| field == select.field),
        Expr::Call(call) if OF_TENSORS.contains(&call.func_name.as_str()) => true,
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let is = |name: &str| matches!(&call.args[0].expr, Expr::Ident(of) if of == name);
            is("timesteps") || is("sigmas") || is("alpha_bar") || is("lora")
        }
        Expr::Call(call) => {
            const OF_NUMBERS: [&str; 7] = [
                "sqrt",
                "abs",
                operators::NEGATE,
                operators::ADD,
                operators::SUBSTRACT,
                operators::MULTIPLY,
                operators::DIVIDE,
            ];
            OF_NUMBERS.contains(&call.func_name.as_str()) && call.args.iter().all(|arg| is_number(&arg.expr))
        }
        _ => false,
    }
}

/// The expression as CEL reads it: parts of tensors, `t[0,2..5,:]`, in quotes, as CEL's brackets hold one value; and whole numbers
/// from 2^63 on, which large seeds are, marked as having no sign.
pub(super) fn as_cel(text: &str) -> String {
    let (mut made, mut quote, mut escaped) = (String::with_capacity(text.len()), None, false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c.is_ascii_digit() && !made.ends_with(is_of_a_number_or_name) => {
                let length = rest.as_str().find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.as_str().len());
                let digits = format!("{c}{}", &rest.as_str()[..length]);
                let is_whole = !rest.as_str()[length..].starts_with(is_of_a_number_or_name);
                // -2^63 is one number for CEL, with its sign.
                let is_least = made.trim_end().ends_with('-') && digits == "9223372036854775808";
                let is_large = digits.parse::<i64>().is_err() && digits.parse::<u64>().is_ok();
                rest = rest.as_str()[length..].chars();
                made.push_str(&digits);
                if is_whole && is_large && !is_least {
                    made.push('u');
                }
                continue;
            }
            None if c == '[' => {
                let before = made.trim_end().chars().next_back();
                let indexes = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | ']'));
                let inner = rest.as_str().split(']').next().unwrap_or_default();
                let is_part = |c: char| c.is_ascii_digit() || matches!(c, ',' | ':' | '.' | '-' | ' ');
                let several = inner.contains([',', ':']) || inner.contains("..");
                if indexes && several && inner.chars().all(is_part) && inner.len() < rest.as_str().len() {
                    made.push_str(&format!("[\"{inner}\"]"));
                    rest = rest.as_str()[inner.len() + 1..].chars();
                    continue;
                }
            }
            None => {}
        }
        made.push(c);
    }
    made
}

/// Whether a character next to digits makes them a part of a name or of a decimal number.
fn is_of_a_number_or_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.')
}

/// How deep an expression is nested, or chained by operators that nest it.
pub(super) fn depth(text: &str) -> usize {
    let (mut deep, mut deepest) = (0usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => deep += 1,
            ')' | ']' | '}' => deep = deep.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(deep);
    }
    let unary = text.split(|c| c != '-' && c != '!').map(str::len).max().unwrap_or(0);
    deepest.max(unary).max(text.matches('?').count())
}
