"""The teacher: the formula, and exactness under resume."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from corun.colabator.teacher import Teacher, TeacherConfig


def student(value: float) -> nn.Module:
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, value)
    return module


def weight_of(teacher: Teacher) -> float:
    weight = teacher.network.weight
    assert isinstance(weight, torch.Tensor)
    return float(weight)


def test_the_average_by_hand() -> None:
    teacher = Teacher(student(1.0), TeacherConfig(decay=0.9))
    teacher.follow(student(2.0))
    assert weight_of(teacher) == pytest.approx(1.1)
    teacher.follow(student(2.0))
    assert weight_of(teacher) == pytest.approx(1.19)


def test_it_starts_as_the_student_and_learns_nothing_by_itself() -> None:
    source = student(3.0)
    teacher = Teacher(source)
    assert weight_of(teacher) == 3.0
    assert not teacher.network.training
    assert not any(p.requires_grad for p in teacher.network.parameters())
    nn.init.constant_(source.weight, 0.0)  # type: ignore[arg-type]
    assert weight_of(teacher) == 3.0


def test_a_restored_teacher_continues_to_the_bit() -> None:
    config = TeacherConfig(decay=0.7)
    straight, first = Teacher(student(0.7), config), Teacher(student(0.7), config)
    values = [1 / 3, 2 / 7, 0.11, 5 / 9]
    for value in values:
        straight.follow(student(value))
    for value in values[:2]:
        first.follow(student(value))
    second = Teacher(student(9.0), config)
    second.load_state_dict(first.state_dict())
    for value in values[2:]:
        second.follow(student(value))
    assert second.updates == 4
    assert weight_of(second) == weight_of(straight)
