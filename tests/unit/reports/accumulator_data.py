"""A made-up accumulator study: two schemes, one model, one matmul of it, with times that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping

from reports.accumulator import (
    EXPLICIT,
    HARDWARE,
    IDEAL,
    OPERANDS,
    SOFTWARE,
    Bordered,
    Contender,
    Ends,
    GroupLevel,
    Hardware,
    Level,
    Method,
    OrderLevel,
    OrderTime,
    Overflow,
    Rest,
    Shifter,
    Study,
    Timed,
)

MODEL, BYTES, WIDE = "llama3-8b", "tender_w4a4", "tender_w8a8"
TIMES = {IDEAL: 9.0, HARDWARE: 10.0, SOFTWARE: 12.0, EXPLICIT: 15.0}
PHASES = (("decode", 1), ("prefill", 16))
FP16 = Method("fp16")


def method(scheme: str, variant: str, groups: int) -> Method:
    return Method(
        scheme,
        variant,
        1 if variant == IDEAL else groups,
        "",
        "tender_accumulator" if variant == HARDWARE else "",
    )


def timed(how: Method, m: int, us: float) -> Timed:
    return Timed(MODEL, how, m, "qkv_proj", 256, 256, 2, us, 5.0 * us, "tensor", "16x128")


def study(
    hardware_us: float = 10.0, operands_us: float = 10.0, rest_us: Mapping[int, float] | None = None
) -> Study:
    times = {**TIMES, HARDWARE: hardware_us}
    of_scheme = {WIDE: times, BYTES: {**times, OPERANDS: operands_us}}
    rows = [
        (method(scheme, variant, groups), us)
        for scheme, variants in of_scheme.items()
        for variant, us in variants.items()
        for groups in ((1,) if variant == IDEAL else (8, 20))
    ]
    rest = rest_us or {1: 20.0, 16: 0.0}
    slow = {HARDWARE: 0.01, SOFTWARE: 0.1, EXPLICIT: 0.3}
    return Study(
        title="Accumulators that shift",
        arch="h200",
        sms=132,
        models=(MODEL,),
        schemes=(WIDE, BYTES),
        phases=PHASES,
        groups=(8, 20),
        places=("llm_int8_6.7b",),
        timed=(
            *(timed(how, m, us) for how, us in rows for _, m in PHASES),
            *(timed(FP16, m, 20.0) for _, m in PHASES),
        ),
        rest=tuple(Rest(MODEL, phase, m, rest[m], 0.0, 0.0) for phase, m in PHASES),
        borders=(
            Bordered(method(WIDE, IDEAL, 1), "", 16, 256, 256, 9.0, 1.0),
            *(
                Bordered(
                    method(WIDE, variant, groups),
                    "one" if variant == HARDWARE else "",
                    16,
                    256,
                    256,
                    9.0 + rise * groups,
                    1.0,
                )
                for variant, rise in slow.items()
                for groups in (1, 8, 20)
            ),
        ),
        overflow=tuple(
            Overflow(
                "llm_int8_6.7b",
                8,
                groups,
                shift,
                width,
                mode,
                *((0.0, db) if width >= 24 else (9.0, -2.0)),
                24,
            )
            for groups, shift, db in ((1, 1, 20.0), (8, 1, 36.0), (5, 2, 33.0))
            for width in (16, 24, 32)
            for mode in ("wrap", "saturate")
        ),
        by_groups=(
            GroupLevel(8, 1, "llm_int8_6.7b", 20.0, 0.0),
            GroupLevel(8, 8, "llm_int8_6.7b", 36.0, 0.0),
            GroupLevel(8, 20, "llm_int8_6.7b", -2.0, 70.0),
        ),
        levels=tuple(
            Level(name, "llm_int8_6.7b", db)
            for name, db in (("fp16", 65.0), ("int8_per_tensor", 17.0), ("tender_int8_g8", 36.0))
        ),
        contenders=(
            Contender("FP16", "fp16", FP16, 0.0),
            Contender("INT8 per tensor", "int8_per_tensor", method(WIDE, IDEAL, 1), 0.0),
            Contender("Tender", "tender_int8_g8", method(WIDE, SOFTWARE, 8), 0.0),
            Contender("per group", "tender_int8_g8", method(WIDE, EXPLICIT, 8), 0.0),
            Contender("Tender + extension", "tender_int8_g8", method(WIDE, HARDWARE, 8), 421.0),
        ),
        hardware=(Hardware("tender_accumulator", "one", "area", 421.0, "um2 per SM", "synthesized: it is"),),
        shifters=tuple(
            Shifter(position, reach, 80.0 * reach, 0.4 * reach, delay, 0.3, 0.6)
            for position, delay in (("c_path", 0.0), ("behind_adder", 1.5))
            for reach in (1, 2)
        ),
        unit="dot INT8 x 32",
        ends=(Ends(WIDE, 16, 8, 32, 3.0, 10.3, 10.0, 36.0, 35.0, 0),),
        order_times=(OrderTime(16, 4096, 3.0, 4.0, 3.5),),
        order_levels=(OrderLevel(0.5, 38.0, 36.0),),
        skipped=(),
    )
