"""Graphs for OpenVINO: conversion, quantization, and OpenVINO to certify them."""
