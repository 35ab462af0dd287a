"""Machine code as nvdisasm prints it: instructions, and loops by the control-flow graph."""

from __future__ import annotations

import pytest

from benchmarks.resources import sass

from .listings import program


def heads_and_lengths(code: str) -> list[tuple[int, int]]:
    return [(loop.head, len(loop)) for loop in program(code).loops()]


def test_instructions_are_counted_by_name_whatever_their_modifiers_and_guards():
    found = program(
        """
        MOV R1, c[0x0][0x28]
        @P0 HMMA.16816.F32.BF16 R4, R8, R12, R4
        { HMMA.1688.F32.TF32 R4, R8, R12, R4
        @!UP1 UMOV UR4, URZ
        STL.64 [R1+0x8], R2
        EXIT
        """
    )
    assert found.count(["HMMA"]) == 2
    assert found.count(["STL", "LDL"]) == 1
    assert found.count(["HGMMA"]) == 0
    assert [i.conditional for i in found.instructions] == [False, True, False, True, False, False]


def test_only_the_named_kernel_is_read():
    text = (
        '\t.section\t.text.one,"ax",@progbits\n        /*0000*/   EXIT ;\n'
        '\t.section\t.text.one_more,"ax",@progbits\n        /*0000*/   NOP ;\n'
        "        /*0010*/   EXIT ;\n"
        '\t.section\t.nv.shared.one_more,"aw",@nobits\n        /*0000*/   NOP ;\n'
    )
    assert len(sass.parse(text, "one_more").instructions) == 2
    with pytest.raises(ValueError, match="no code of a kernel 'two'"):
        sass.parse(text, "two")


def test_a_loop_reaches_from_its_head_to_its_backward_jump():
    code = """
        MOV R1, R2
        @P0 BRA `(.L_x_1)
        .L_x_0:
        FFMA R1, R2, R3, R1
        ISETP.NE.AND P0, PT, R1, RZ, PT
        @P0 BRA `(.L_x_0)
        .L_x_1:
        EXIT
        .L_x_2:
        BRA `(.L_x_2)
        """
    # The endless jump that pads the end is no loop: nothing gets there.
    assert heads_and_lengths(code) == [(2, 3)]
    assert program(code).loops()[0].count(["FFMA"]) == 1


@pytest.mark.parametrize("jump", ["@P0 BRA", "BRA.U UP0,", "@P1 BRA P0,", "BRA.DIV ~URZ,"])
def test_jumps_that_may_fall_through(jump):
    code = f"""
        .L_x_0:
        NOP
        {jump} `(.L_x_0)
        NOP
        EXIT
        """
    found = program(code)
    assert heads_and_lengths(code) == [(0, 2)]
    assert found.instructions[1].conditional


def test_a_wait_moved_behind_the_end_belongs_to_its_loop():
    code = """
        .L_x_0:
        SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
        @!P0 BRA `(.L_x_8)
        .L_x_1:
        UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8]
        @P1 BRA `(.L_x_0)
        EXIT
        .L_x_8:
        SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
        @P0 BRA `(.L_x_1)
        BRA `(.L_x_8)
        """
    # The outer loop has all but EXIT; the spin inside of it is a loop of its own.
    assert heads_and_lengths(code) == [(0, 7), (5, 3)]


def test_a_call_without_return_is_the_jump_that_sm_80_makes_of_it():
    code = """
        .L_x_0:
        FFMA R1, R2, R3, R1
        @!P1 CALL.REL.NOINC `(.L_x_1)
        BRA `(.L_x_0)
        .L_x_1:
        EXIT
        """
    assert heads_and_lengths(code) == [(0, 3)]


def test_a_call_of_a_function_returns():
    code = """
        .L_x_0:
        CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_u16)
        @P0 BRA `(.L_x_0)
        EXIT
        $__internal_0_$__cuda_sm20_div_u16:
        NOP
        RET.REL.NODEC R2
        """
    assert heads_and_lengths(code) == [(0, 2)]


def test_nested_loops_and_two_ways_back_to_one_head():
    code = """
        .L_x_0:
        NOP
        .L_x_1:
        NOP
        @P0 BRA `(.L_x_1)
        @P1 BRA `(.L_x_0)
        NOP
        @P2 BRA `(.L_x_0)
        EXIT
        """
    assert heads_and_lengths(code) == [(0, 6), (1, 2)]


def test_a_jump_into_the_middle_makes_no_loop_of_the_code_before_it():
    code = """
        @P0 BRA `(.L_x_1)
        .L_x_0:
        NOP
        .L_x_1:
        NOP
        @P1 BRA `(.L_x_0)
        EXIT
        """
    # Two entries: no head dominates it, so it is no natural loop. Compilers make none of these.
    assert heads_and_lengths(code) == []


def test_a_table_of_jumps_leads_to_all_of_its_targets():
    # As nvdisasm writes it, in a kernel whose warps are sent to their parts by a table.
    jump = """BRX R2 -0x170    (*"BRANCH_TARGETS .L_x_1,.L_x_2"*)"""
    (loop,) = program(
        f".L_x_0:\n{jump}\nNOP\n.L_x_1:\nFADD R1, R1, R1\nBRA `(.L_x_0)\n.L_x_2:\nEXIT"
    ).loops()
    assert (loop.head, len(loop)) == (0, 3)  # without the NOP, which nobody reaches


def test_a_table_of_jumps_without_targets_is_refused():
    with pytest.raises(ValueError, match="indirect jump"):
        program("BRX R2 -0x10\nEXIT").loops()
