from layert2v_domain.job import NEXT_STATES, JobState


def test_terminal_states_lead_nowhere() -> None:
    terminal = {state for state in JobState if state.is_terminal}

    assert terminal == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    assert set(NEXT_STATES) == set(JobState)
