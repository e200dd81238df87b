"""``profile show``, ``check``, ``diff`` and ``convert``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from planner.__main__ import main
from profiles import ProfileError, Provenance, data_of_points, load_profiles, read_data, sample_profile_dir, write_data
from profiles.provenance import Engine
from profiles.synthetic import itl_ms, ttft_ms

SAMPLE = str(sample_profile_dir())


def made(gpus=1, slower=1.0, contexts=(250, 1000, 4000, 16000)):
    return data_of_points(
        [(isl, slower * ttft_ms(isl)) for isl in np.geomspace(100, 16000, 8).round()],
        [(n, y, slower * itl_ms(n, y)) for y in contexts for n in (1, 4, 16, 48)],
        max_kv_tokens=900_000,
        provenance=Provenance(how="made", model="tiny", decode=Engine(gpus=gpus)),
    )


def run(*arguments):
    return main(["profile", *map(str, arguments)])


def test_show_prints_the_operating_point_and_leaves_a_picture_and_a_page(tmp_path, capsys):
    assert run("show", SAMPLE, "--itl", 20, "--ttft", 300, "--isl", 3000, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    point = load_profiles(SAMPLE).decode.operating_point(20, 3075)
    assert f"{point.concurrency} sequences at ITL {point.itl_ms:.2f} ms" in printed
    assert "synthetic-8b" in printed
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "profile.html").read_text()
    assert f"{point.concurrency} sequences" in page
    assert "data:image/png;base64," in page


def test_check_has_figures(capsys):
    assert run("check", SAMPLE) == 0
    printed = capsys.readouterr().out
    assert "off by" in printed
    assert "profiled from 100 to 16384" in printed
    assert run("check", SAMPLE, "--format", "json") == 0
    assert {finding["health"] for finding in json.loads(capsys.readouterr().out)} == {"ok"}


def test_check_warns_beyond_the_profiled_lengths_and_fails_if_strict(capsys):
    assert run("check", SAMPLE, "--isl", 60000) == 0
    assert "extrapolated" in capsys.readouterr().out
    assert run("check", SAMPLE, "--isl", 60000, "--strict") == 1


def test_check_of_rough_data_says_how_rough(tmp_path, capsys):
    data = made()
    data.decode.columns["z_itl"][2::4] *= 1.6
    write_data(data, tmp_path)
    assert run("check", tmp_path, "--strict") == 1
    assert "the data is rough" in " ".join(capsys.readouterr().out.split())


def test_check_of_nothing_fails(tmp_path, capsys):
    assert run("check", tmp_path) == 1
    assert "no prefill profile found" in capsys.readouterr().out


def test_diff_tells_by_how_much(tmp_path, capsys):
    write_data(made(), tmp_path / "one")
    write_data(made(slower=1.25), tmp_path / "other")
    assert run("diff", tmp_path / "one", tmp_path / "other", "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert printed.count("1.250") >= 8
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


@pytest.mark.parametrize("layout", ["npz", "json", "pre-swept"])
def test_what_is_converted_reads_the_same(tmp_path, layout, capsys):
    write_data(made(gpus=2), tmp_path / "from")
    assert run("convert", tmp_path / "from", "--to", layout, "--output", tmp_path / "to") == 0
    before, after = read_data(tmp_path / "from"), read_data(tmp_path / "to")
    assert after.provenance == before.provenance
    assert after.decode.max_kv_tokens == before.decode.max_kv_tokens
    for role in ("prefill", "decode"):
        for name, values in getattr(before, role).columns.items():
            np.testing.assert_allclose(getattr(after, role).columns[name], values)
    assert after.engines().decode.gpus == 2
    assert "wrote" in capsys.readouterr().out


def test_npz_is_laid_out_as_dynamo_does(tmp_path):
    write_data(made(), tmp_path)
    with np.load(tmp_path / "selected_decode_interpolation" / "raw_data.npz") as archive:
        assert archive["max_kv_tokens"].dtype == np.int64
        assert archive["max_kv_tokens"].shape == (1,)
        assert set(archive) == {"x_kv_usage", "y_context_length", "z_itl", "z_thpt_per_gpu", "max_kv_tokens"}
    with np.load(tmp_path / "selected_prefill_interpolation" / "raw_data.npz") as archive:
        assert set(archive) == {"prefill_isl", "prefill_ttft", "prefill_thpt_per_gpu"}


def test_a_pre_swept_row_can_be_chosen(tmp_path):
    write_data(made(gpus=2), tmp_path, "pre-swept")
    with np.load(tmp_path / "decode.npz") as archive:
        assert archive["z_itl"].shape == (1, 16)
    assert load_profiles(tmp_path, decode_select={"model": "tiny", "gpu_count": "2"}).decode.gpus == 2


def test_a_config_map_holds_what_is_mounted(tmp_path, capsys):
    options = ("--config-map-name", "mine", "--config-map-namespace", "serving")
    assert run("convert", SAMPLE, "--to", "configmap", "--output", tmp_path, *options) == 0
    assert "kubectl apply -f" in capsys.readouterr().out
    manifest = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "ConfigMap")
    assert manifest["metadata"] == {"name": "mine", "namespace": "serving"}
    for name, text in manifest["data"].items():
        (tmp_path / name).write_text(text)
    assert json.loads(manifest["data"]["meta.json"])["model"] == "synthetic-8b"
    assert load_profiles(tmp_path).decode.itl_ms(50, 2000) == load_profiles(SAMPLE).decode.itl_ms(50, 2000)


def test_a_config_map_is_read_as_it_is(tmp_path, capsys):
    assert run("convert", SAMPLE, "--to", "configmap", "--output", tmp_path) == 0
    manifest = tmp_path / "planner-profile-data.yaml"
    assert run("convert", manifest, "--to", "npz", "--output", tmp_path / "back") == 0
    assert load_profiles(tmp_path / "back").decode.itl_ms(50, 2000) == load_profiles(SAMPLE).decode.itl_ms(50, 2000)
    assert read_data(manifest).provenance == read_data(SAMPLE).provenance


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("kind: ConfigMap\ndata: {prefill_raw_data.json: '{'}", "prefill_raw_data.json cannot be read as JSON"),
        ("kind: ConfigMap\ndata: {other: 1}", "no manifest of a ConfigMap with the key 'prefill_raw_data.json'"),
        ("kind: Secret\ndata: {}", "no manifest of a ConfigMap"),
        ("- 1", "no manifest of a ConfigMap"),
        ("a: [", "cannot be read as the manifest"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path, content, complaint):
    (tmp_path / "some.yaml").write_text(content)
    with pytest.raises(ProfileError, match=complaint):
        read_data(tmp_path / "some.yaml")


def test_a_layout_that_another_would_hide_is_refused(tmp_path, capsys):
    write_data(made(), tmp_path, "npz")
    assert run("convert", SAMPLE, "--to", "json", "--output", tmp_path) == 2
    assert "would be read instead" in capsys.readouterr().err
    assert not (tmp_path / "prefill_raw_data.json").exists()


def test_a_word_that_is_no_command(capsys):
    assert run("shwo") == 2
    assert "choose from estimate, measure, from-metrics, show" in capsys.readouterr().err


def test_a_prometheus_that_is_not_there_is_asked_once(tmp_path, capsys, free_port):
    url = f"http://127.0.0.1:{free_port()}"
    where = ("--metric-pulling-prometheus-endpoint", url, "--profile-results-dir", tmp_path / "new")
    assert run("from-metrics", "--prefill-workers", 1, "--decode-workers", 1, *where) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--metric-pulling-prometheus-endpoint {url} does not answer: ConnectError" in line
