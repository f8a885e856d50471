"""What a program for a GPU launches, read off its text."""

from benchmarks.gpu.program import Loop, loops

TEXT = """HloModule jit_f

%fused (p: f32[8,4], i: s32[]) -> f32[4] {
  %p = f32[8,4]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %row = f32[1,4]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,4}
  ROOT %flat = f32[4]{0} bitcast(%row)
}

%body (state: (s32[], f32[8,4], f32[4])) -> (s32[], f32[8,4], f32[4]) {
  %state = (s32[], f32[8,4]{1,0}, f32[4]{0}) parameter(0)
  %n = s32[] get-tuple-element(%state), index=0
  %all = f32[8,4]{1,0} get-tuple-element(%state), index=1
  %slice = f32[4]{0} fusion(%all, %n), kind=kLoop, calls=%fused
  ROOT %next = (s32[], f32[8,4]{1,0}, f32[4]{0}) tuple(%n, %all, %slice)
}

ENTRY %main (x: f32[8,4]) -> f32[4] {
  %x = f32[8,4]{1,0} parameter(0)
  %copy = f32[8,4]{1,0} copy(%x)
  %while = (s32[], f32[8,4]{1,0}, f32[4]{0}) while(%x), body=%body, backend_config={"known_trip_count":{"n":"8"}}
  ROOT %out = f32[4]{0} get-tuple-element(%while), index=2
}
"""


def test_a_slice_counts_as_what_it_takes_and_a_loop_is_named_by_its_turns():
    # The program copies 8 x 4 floats; a turn reads the counter and one row of them, and writes that row.
    assert loops(TEXT) == [Loop("the program", 0, 1, 128, 128), Loop("loop of 8 turns", 1, 1, 16 + 4, 16)]
